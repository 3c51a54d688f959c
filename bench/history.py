"""Finished jobs by the million, written by SQL: the queue itself would take minutes for each."""

from collections.abc import Sequence

from bench.database import open_connection

_SHARE = 500_000
_ORIGIN = "2020-01-01T00:00:00Z"
_WRITE = """
with made as materialized (
    select
        n,
        windlass.uuid7_floor(%(origin)s::timestamptz + n * interval '1 millisecond') as id,
        %(origin)s::timestamptz + n * interval '1 millisecond' as at,
        (%(kinds)s::text[])[1 + n %% cardinality(%(kinds)s::text[])] as kind,
        (%(queues)s::text[])[1 + n %% cardinality(%(queues)s::text[])] as queue,
        case
            when %(failed_every)s > 0 and n %% %(failed_every)s = 1 then 'failed_permanent'
            when %(cancelled_every)s > 0 and n %% %(cancelled_every)s = 2 then 'cancelled'
            else 'succeeded'
        end as status
    from generate_series(%(first)s::bigint, %(last)s::bigint) as series (n)
),
stored as (
    insert into windlass.jobs (id, created_at, timeout_seconds, priority, max_attempts, queue, kind, payload)
    select id, at, 900, 0, 3, queue, kind, '{}' from made order by n
),
recorded as (
    insert into windlass.failures (id, fence, at, attempt, error, permanent)
    select id, 0, at, 3, 'it did not work', false from made where status = 'failed_permanent'
)
insert into windlass.done (id, run_at, started_at, finished_at, fence, worker_id, attempts, kind, status)
select id, at, at, at, 0, 0, case when status = 'failed_permanent' then 3 else 1 end, kind, status from made order by n
"""


def write(
    url: str,
    count: int,
    *,
    first: int = 1,
    kinds: Sequence[str] = ("bench_noop",),
    queues: Sequence[str] = ("default",),
    failed_every: int = 0,
    cancelled_every: int = 0,
) -> None:
    """Jobs `first` … `first` + `count` - 1, a millisecond apart from 2020 on, kinds and queues in turn.

    Of every so many one has failed, or was cancelled (0: none). Follow it with `vacuum`.
    """
    conn = open_connection(url)
    try:
        for begin in range(first, first + count, _SHARE):
            conn.execute(
                _WRITE,
                origin=_ORIGIN,
                first=begin,
                last=min(begin + _SHARE, first + count) - 1,
                kinds=list(kinds),
                queues=list(queues),
                failed_every=failed_every,
                cancelled_every=cancelled_every,
            )
    finally:
        conn.close()


def vacuum(url: str) -> None:
    """What autovacuum would do sooner or later after so many rows: with statistics."""
    conn = open_connection(url)
    try:
        conn.execute("vacuum (analyze)")
    finally:
        conn.close()
