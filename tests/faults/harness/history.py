"""What really happened to every job, written down by the server itself, and the verdict over it.

Triggers of the test's own database record each claim and each end of a lease with the server's clock, whoever wrote
it; handlers record what they did outside the database (`support.effects`). The verdict holds one against the other.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from faults.harness import never
from faults.harness.sessions import THIS_SESSION
from support.effects import Effect
from support.server import through_pgbouncer

from sql.connection import Connection

_RECORD = """
create table public.history (
    n bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    what text not null,
    id uuid not null,
    fence bigint not null,
    worker_id bigint,
    status text,
    session text not null default public.this_session()
);
create function public.record_lease() returns trigger language plpgsql as $$
begin
    insert into public.history (what, id, fence, worker_id) select tg_argv[0], id, fence, worker_id from touched;
    return null;
end $$;
create function public.record_end() returns trigger language plpgsql as $$
begin
    insert into public.history (what, id, fence, worker_id, status)
    select 'ended', id, fence, worker_id, status from touched;
    return null;
end $$;
create function public.record_return() returns trigger language plpgsql as $$
begin
    insert into public.history (what, id, fence) select 'back', id, last_fence from touched where last_fence > 0;
    return null;
end $$;
create trigger record_claims after insert on windlass.running referencing new table as touched
for each statement execute function public.record_lease('claimed');
create trigger record_leaving after delete on windlass.running referencing old table as touched
for each statement execute function public.record_lease('left');
create trigger record_ends after insert on windlass.done referencing new table as touched
for each statement execute function public.record_end();
create trigger record_returns after insert on windlass.ready referencing new table as touched
for each statement execute function public.record_return();
"""
# The clocks are compared over a round trip, which takes so long at most where it was shortest.
_CLOCK_ERROR_SECONDS = 0.001

# The kinds whose handlers note that they ran.
_NOTING = ("note", "gate", "throw", "follow", "die")

# What must be 0 whatever was done to the processes: by the tables, once all is to have ended, and by the effects.
OF_TABLES = ("lost", "ended_twice", "double_settled", "stale_settles", "over_attempted")
OF_EFFECTS = ("claim_ran_twice", "ran_without_claim", "started_without_lease", "without_effect")
NEVER = (*OF_TABLES, "unfinished", *OF_EFFECTS)


class Event(NamedTuple):
    """One line of the history, written in a `session` of the server's; `by_worker`: the lease is a pool's.

    `what`: claimed, left (the lease ended), ended or back (where the job went).
    """

    at: float
    what: str
    id: str
    fence: int
    status: str | None
    session: str
    by_worker: bool


def record(connection: Connection) -> None:
    """From now on. Once a database, before the first claim."""
    connection.execute(THIS_SESSION)
    connection.execute(_RECORD)


def read(connection: Connection) -> list[Event]:
    """All of it, in order."""
    rows = connection.fetch_all(
        "select extract(epoch from at)::float8, what, id::text, fence, status, session, worker_id is not null"
        " from public.history order by n"
    )
    return [Event(*row) for row in rows]


def database_clock(connection: Connection) -> float:
    """What has to be added to `time.monotonic()` to get the database's time, in seconds since 1970."""
    readings = []
    for _ in range(20):
        before = time.monotonic()
        row = connection.fetch_one("select extract(epoch from clock_timestamp())::float8")
        after = time.monotonic()
        assert row is not None
        readings.append((after - before, row[0] - (before + after) / 2))
    return float(min(readings)[1])


def verdict(
    connection: Connection,
    ids: Collection[str],
    effects: Iterable[Effect] | None = None,
    *,
    most_attempts: int | None = None,
    pooled: bool = False,
) -> dict[str, Any]:
    """Figures over all jobs of `ids`, once nothing runs any more. `effects`: the starts of handlers; who has none gets
    no figures about them. No job may have more attempts than it says itself, nor than `most_attempts`. `pooled`: behind
    a pooler, where every session serves everybody.
    """
    events = read(connection)
    rows = connection.fetch_all(
        "select id::text, attempts, least(max_attempts, %(most)s::int)"
        " from windlass.done join windlass.jobs using (id)",
        most=most_attempts,
    )
    known = {row[0] for row in connection.fetch_all("select id::text from windlass.jobs")}
    settles = Counter((event.id, event.fence) for event in events if event.what in ("ended", "back"))
    return {
        "jobs": len(ids),
        "claims": sum(event.what == "claimed" for event in events),
        "lost": len(set(ids) - known),
        "unfinished": len(set(ids) & known - {row[0] for row in rows}),
        "ended_twice": sum(count > 1 for count in Counter(e.id for e in events if e.what == "ended").values()),
        "double_settled": sum(count > 1 for count in settles.values()),
        "stale_settles": _stale_settles(events, pooled or through_pgbouncer()),
        "over_attempted": sum(attempts > most for _, attempts, most in rows),
        **({} if effects is None else _of_effects(connection, events, effects)),
    }


def faultless(figures: dict[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """The figures, after all of those that must be 0 were there, and 0. `without`: those this fault does not have."""
    return never.checked(figures, set(NEVER).difference(without))


def _of_effects(connection: Connection, events: Iterable[Event], effects: Iterable[Effect]) -> dict[str, Any]:
    """What handlers did, against the claims and the ends that the server knows of."""
    starts = [effect for effect in effects if effect.what in ("ran", "began")]
    claims = {(event.id, event.fence) for event in events if event.what == "claimed"}
    runs = Counter((start.job, start.fence) for start in starts)
    ran = {start.job for start in starts}
    ran_well = connection.fetch_all(
        "select id::text from windlass.done join windlass.jobs using (id)"
        " where status = 'succeeded' and worker_id is not null and done.kind = any(%(noting)s)",
        noting=list(_NOTING),
    )
    late, between = _late_starts(connection, events, starts)
    return {
        "starts": len(starts),
        "duplicate_starts": len(starts) - len(ran),
        "caught_between_look_and_start": between,
        "claim_ran_twice": sum(count > 1 for count in runs.values()),
        "ran_without_claim": len(runs.keys() - claims),
        "started_without_lease": late,
        "without_effect": len({row[0] for row in ran_well} - ran),
    }


def _stale_settles(events: Iterable[Event], pooled: bool) -> int:
    """Ends written under a fence that was not the job's latest, or by a worker that had lost the job to another.

    The sessions of web processes serve every holder: what those were answered is held against the tables instead.
    """
    claims: dict[str, dict[int, str]] = defaultdict(dict)
    stale = 0
    for event in events:
        sessions = claims[event.id]
        if event.what == "claimed":
            sessions[event.fence] = event.session if event.by_worker and not pooled else ""
        elif event.what in ("ended", "back"):
            latest = max(sessions, default=0)
            lost_it = event.session in sessions.values() and event.session != sessions.get(latest)
            stale += event.fence != latest or lost_it
    return stale


def _late_starts(connection: Connection, events: Iterable[Event], starts: Iterable[Effect]) -> tuple[int, int]:
    """Starts whose worker looked at its lease after that had ended; and those that were stopped between look and start.

    No look can be so late that nothing fits in behind it: the second is what fences are for.
    """
    offset = database_clock(connection) - _CLOCK_ERROR_SECONDS
    left = {(event.id, event.fence): event.at for event in events if event.what == "left"}
    over = [(start, left.get((start.job, start.fence), float("inf"))) for start in starts]
    late = sum(start.looked + offset > at for start, at in over)
    return late, sum(start.at + offset > at for start, at in over) - late
