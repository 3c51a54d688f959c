"""Every change of a job's state, written by the server itself into a table beside the schema, whoever caused it."""

from collections.abc import Sequence
from typing import NamedTuple

from faults.harness.sessions import THIS_SESSION

from sql.connection import Connection

_MAKE = """
create table public.events (
    n bigint generated always as identity,
    at timestamptz not null default clock_timestamp(), began timestamptz not null default now(),
    job uuid not null, state text not null, entered boolean not null,
    fence bigint, attempts integer, worker_id bigint, status text, run_at timestamptz,
    session text not null default public.this_session()
);
create function public.note_event() returns trigger language plpgsql as $$
declare
    facts jsonb := case tg_op when 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
begin
    insert into public.events (job, state, entered, fence, attempts, worker_id, status, run_at)
    values (
        (facts ->> 'id')::uuid, case tg_op when 'UPDATE' then 'rewritten ' else '' end || tg_table_name,
        tg_op <> 'DELETE',
        coalesce(facts ->> 'fence', facts ->> 'last_fence')::bigint,
        (facts ->> 'attempts')::integer, (facts ->> 'worker_id')::bigint, facts ->> 'status',
        (facts ->> 'run_at')::timestamptz);
    return null;
end $$;
create trigger note_event after insert or delete on windlass.ready for each row execute function public.note_event();
create trigger note_event after insert or delete on windlass.running for each row execute function public.note_event();
create trigger note_event after insert or delete on windlass.done for each row execute function public.note_event();
-- An end is never rewritten, and neither is who holds a lease.
create trigger note_rewriting after update on windlass.done for each row execute function public.note_event();
create trigger note_rewriting after update on windlass.running for each row
when (
    (old.id, old.fence, old.worker_id, old.attempts) is distinct from (new.id, new.fence, new.worker_id, new.attempts)
) execute function public.note_event();
create trigger note_rewriting after update on windlass.ready for each row
when ((old.id, old.last_fence, old.attempts) is distinct from (new.id, new.last_fence, new.attempts))
execute function public.note_event();
create table public.pauses (
    n bigint generated always as identity,
    at timestamptz not null default clock_timestamp(), queue text not null, paused boolean not null
);
create function public.note_pause() returns trigger language plpgsql as $$
begin
    insert into public.pauses (queue, paused) values (new.name, new.paused_at is not null);
    return null;
end $$;
create trigger note_pause after insert or update on windlass.queues for each row execute function public.note_pause();
"""
_READ = """
select job::text, state, entered, fence, attempts, worker_id, status, extract(epoch from at)::float8,
    extract(epoch from began)::float8, extract(epoch from run_at)::float8, session
from public.events
order by n
"""
_READ_PAUSES = """
select extract(epoch from at)::float8, paused
from public.pauses
where queue = %(queue)s
order by n
"""


class Event(NamedTuple):
    """A row that came into a state's table or left it; times are seconds of the database's clock.

    Its transaction, whose now() is what statements go by, `began` a moment before, in a `session` of the server's.
    """

    job: str
    state: str
    entered: bool
    fence: int
    attempts: int
    worker_id: int | None
    status: str | None
    at: float
    began: float
    run_at: float
    session: str

    @property
    def step(self) -> str:
        """`+ready`, `-ready` and so on."""
        return f"{'+' if self.entered else '-'}{self.state}"


def record(conn: Connection) -> None:
    """From now on."""
    conn.execute(THIS_SESSION)
    conn.execute(_MAKE)


def pauses(conn: Connection, queue: str, known_at: Sequence[float]) -> list[tuple[float, float]]:
    """From when to when everybody could know that it was paused, in seconds of the database's clock, which is ours.

    `known_at`: when somebody was answered that it is. It was noted before its transaction was over.
    """
    spans: list[tuple[float, float]] = []
    since: float | None = None
    for at, paused in [*conn.fetch_all(_READ_PAUSES, queue=queue), (float("inf"), False)]:
        if paused and since is None:
            since = at
        elif not paused and since is not None:
            spans += [(known, at) for known in known_at if since <= known < at]
            since = None
    return spans


def of_each_job(conn: Connection) -> dict[str, list[Event]]:
    """In the order they happened: one transition of a job waits for the other."""
    found: dict[str, list[Event]] = {}
    for row in conn.fetch_all(_READ):
        event = Event(*row)
        found.setdefault(event.job, []).append(event)
    return found
