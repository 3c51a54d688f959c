"""How fast a database was drained, from what its own clock wrote into `done`."""

from bench.database import open_connection

_SPAN = """
select count(*), extract(epoch from max(finished_at) - min(started_at))::float8, count(distinct worker_id)
from windlass.done where status = 'succeeded' and started_at >= %(since)s::timestamptz
"""
# Settles come in batches, so the borders are moments at which one was written.
_STEADY = """
with measured as (
    select finished_at, count(*) as jobs from windlass.done
    where status = 'succeeded' and started_at >= %(since)s::timestamptz group by 1
),
border as (
    select min(finished_at) filter (where finished_at >= first + %(cut)s * (last - first)) as low,
        max(finished_at) filter (where finished_at <= last - %(cut)s * (last - first)) as high
    from measured, (select min(finished_at) as first, max(finished_at) as last from measured) as whole
)
select sum(jobs) filter (where finished_at > low)::float8 / nullif(extract(epoch from high - low), 0)::float8
from measured, border where finished_at <= high group by low, high
"""
_SUCCESSIVE = """
with numbered as (
    select finished_at, row_number() over (order by finished_at, id) as n from windlass.done where status = 'succeeded'
),
begun as (select min(started_at) as at from windlass.done where status = 'succeeded'),
share as (
    select ceil(n / %(size)s::float8)::int as number, max(finished_at) as until, count(*) as jobs
    from numbered group by 1
)
select jobs / greatest(extract(epoch from until - lag(until, 1, begun.at) over (order by number)), 0.001)::float8
from share, begun order by number
"""
_BY_SECOND = """
select floor(extract(epoch from finished_at - (select min(started_at) from windlass.done)))::int as second, count(*)
from windlass.done where status = 'succeeded' group by 1 order by 1
"""
_SHORT_SECONDS = 0.5
_NOW = "select now()::text"


def now(url: str) -> str:
    """The database's time, to measure what starts after it."""
    return str(_rows(url, _NOW)[0][0])


def span(url: str, count: int, since: str = "-infinity") -> tuple[float, int]:
    """Jobs per second from the first claim to the last settle, and how many workers took part.

    Raises SystemExit unless exactly `count` jobs succeeded.
    """
    ((done, seconds, workers),) = _rows(url, _SPAN, since=since)
    if done != count:
        raise SystemExit(f"{done} of {count} jobs succeeded")
    return count / max(seconds, 1e-6), workers


def steady(url: str, count: int, since: str = "-infinity", cut: float = 0.1) -> float:
    """As `span`, without the first and the last tenth of the time, when workers start and run dry."""
    whole, _ = span(url, count, since)
    # A handful of jobs is settled at once, and has no middle.
    if count < whole * _SHORT_SECONDS:
        return whole
    rows = _rows(url, _STEADY, since=since, cut=cut)
    return float(rows[0][0]) if rows and rows[0][0] else whole


def successive(url: str, size: int) -> list[float]:
    """Jobs per second of the first `size` jobs to be done, of the next, and so on."""
    return [float(rate) for (rate,) in _rows(url, _SUCCESSIVE, size=size)]


def by_second(url: str) -> list[tuple[int, int]]:
    """(second since the first claim, jobs done in it), without the last one, which is not a whole one."""
    seconds = [(int(second), int(jobs)) for second, jobs in _rows(url, _BY_SECOND)]
    return seconds[:-1] or seconds


def _rows(url: str, statement: str, **params: object) -> list[tuple]:  # type: ignore[type-arg]
    conn = open_connection(url)
    try:
        return conn.fetch_all(statement, **params)
    finally:
        conn.close()
