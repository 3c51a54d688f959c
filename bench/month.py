"""A queue that has run for a month: jobs of several kinds and queues that ended each in its way, wait, and run.

Kinds: most jobs are `common` or `half`; `lucky` never fails, `cursed` nearly always; 200 are `rare`, spread over the
month; `ancient` are some of the oldest; `absent` has none. Queues: most jobs are in `default`; `clean` has a twentieth
and no failures, 200 are in `seldom`, `old` has some of the oldest, `absent` none.

As a module of KIND_MODULES it declares the kinds, which the API must know to list by them.
"""

import itertools

from bench.database import open_connection
from bench.kinds import Nothing, bench_noop
from sql.connection import Connection
from workerpool import kind

KINDS = ("common", "half", "lucky", "cursed", "rare", "ancient", "absent")
QUEUES = ("default", "clean", "second", "seldom", "old", "absent")
_RUNNING = 500
_CHUNK = 500_000
_MAKE = """
create temporary table made on commit drop as
select
    n,
    (lpad(to_hex(number.ms), 12, '0') || '7' || substr(mix, 1, 3) || '8' || substr(mix, 4, 15))::uuid as id,
    to_timestamp(number.ms / 1000.0) as at,
    case
        when n %% month.rarely = month.rarely / 2 then 'rare'
        when n <= month.jobs / 2000 then 'ancient'
        when roll < 700 then 'common'
        when roll < 970 then 'half'
        when roll < 995 then 'lucky'
        else 'cursed'
    end as kind,
    case
        when n %% month.rarely = month.rarely / 3 then 'seldom'
        when n <= month.jobs / 10000 then 'old'
        when lane < 900 then 'default'
        when lane < 950 then 'clean'
        else 'second'
    end as queue,
    fate
from (select %(jobs)s::bigint as jobs, greatest(%(jobs)s / 200, 3)::bigint as rarely) as month
cross join generate_series(%(first)s::bigint, %(last)s::bigint) as n
cross join lateral (select md5(n::text) as mix) as m
cross join lateral (
    select
        (extract(epoch from now()) * 1000)::bigint
            - (month.jobs - n) * greatest(%(days)s * 86400000::bigint / month.jobs, 1) as ms,
        ('x' || substr(mix, 20, 4))::bit(16)::int %% 1000 as roll,
        ('x' || substr(mix, 24, 4))::bit(16)::int %% 1000 as lane,
        ('x' || substr(mix, 28, 4))::bit(16)::int %% 1000 as fate
) as number
"""
_STORE = """
insert into windlass.jobs (id, created_at, timeout_seconds, priority, max_attempts, queue, kind, payload)
select id, at, 900, 0, 3, queue, kind, jsonb_build_object('n', n, 'text', repeat('x', 100)) from made order by id
"""
_END = """
with ended as (
    insert into windlass.done (id, run_at, started_at, finished_at, fence, worker_id, attempts, kind, status)
    select id, at, at, at + '1 s', n, 1, case status when 'succeeded' then 1 else 3 end, kind, status
    from made
    cross join lateral (
        select case
            when kind = 'lucky' or queue = 'clean' then 'succeeded'
            when fate < 30 or (kind = 'cursed' and fate >= 50) then 'failed_permanent'
            when fate < 40 then 'cancelled'
            else 'succeeded'
        end as status
    ) as s
    order by id
    returning id, fence, finished_at, status
)
insert into windlass.failures (id, fence, at, worker_id, attempt, error)
select id, fence, finished_at, 1, 3, 'HandlerError: the receiver answered 500'
from ended
where status = 'failed_permanent'
"""
# One in a hundred has failed once; one in forty is due only later.
_WAIT = """
insert into windlass.ready (id, run_at, entered_at, last_fence, priority, attempts, queue, kind)
select id, at + case when fate < 975 then '0' else interval '40 days' end, at, n, 0, (fate < 10)::int, queue, kind
from made
order by id
"""
_RUN = """
insert into windlass.running
    (id, run_at, started_at, lease_expires_at, fence, worker_id, priority, attempts, queue, kind)
select
    id, at, at, case when fate < 500 then now() + '1 day' end, n, case when fate >= 500 then 1 end, 0, 1, queue, kind
from made
order by id
"""
_SETTLED = "vacuum (analyze) windlass.jobs, windlass.done, windlass.ready, windlass.running, windlass.failures"

for _name in KINDS:
    kind(_name, payload=Nothing)(bench_noop)


def fill(url: str, jobs: int, waiting: int) -> None:
    """Writes `jobs` jobs, the newest of this moment: the last `waiting` wait, 500 before them run, the others ended."""
    conn = open_connection(url)
    try:
        runs_from, waits_from = max(jobs - waiting - _RUNNING, 0), jobs - waiting
        borders = sorted({*range(0, jobs, _CHUNK), runs_from, waits_from, jobs})
        for begin, end in itertools.pairwise(borders):
            state = _WAIT if begin >= waits_from else _RUN if begin >= runs_from else _END
            _write(conn, state, days=30, jobs=jobs, first=begin + 1, last=end)
        # As autovacuum leaves it sooner or later.
        conn.execute(_SETTLED)
        conn.execute("checkpoint")
    finally:
        conn.close()


def add_waiting(url: str, count: int) -> None:
    """Writes so many more jobs that wait, of the last day."""
    conn = open_connection(url)
    try:
        for begin in range(0, count, _CHUNK):
            _write(conn, _WAIT, days=1, jobs=count, first=begin + 1, last=min(begin + _CHUNK, count))
        conn.execute(_SETTLED)
        conn.execute("checkpoint")
    finally:
        conn.close()


def _write(conn: Connection, state: str, **numbers: int) -> None:
    with conn.transaction():
        conn.execute(_MAKE, **numbers)
        conn.execute(_STORE)
        conn.execute(state)
