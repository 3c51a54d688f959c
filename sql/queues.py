"""Named lanes: how much waits in them, and whether they hand out anything at all."""

from sql.connection import Connection
from sql.rows import QueueOverview
from sql.statements import load

_SQL = load("queues")
_MOST_WOKEN = 1000


def pause(conn: Connection, queue: str) -> None:
    """From now on `queue` hands out nothing, over restarts too, until `resume`. What runs goes on."""
    conn.execute(_SQL["pause"], queue=queue)


def resume(conn: Connection, queue: str) -> int:
    """`queue` hands out again. Answers how many of its jobs are due, at most 1,000: so many hints are worth it."""
    row = conn.fetch_one(_SQL["resume"], queue=queue, limit=_MOST_WOKEN)
    assert row is not None
    return int(row[0])


def depth(conn: Connection, queue: str) -> int:
    """How many jobs of `queue` are due; paused or not."""
    row = conn.fetch_one(_SQL["depth"], queue=queue)
    assert row is not None
    return int(row[0])


def overview(conn: Connection, limit: int = 1000) -> list[QueueOverview]:
    """The queues with unfinished jobs and the paused ones, by name."""
    return [QueueOverview(*row) for row in conn.fetch_all(_SQL["overview"], limit=limit)]
