"""Named lanes: how much waits in them, and whether they hand out anything at all."""

from sql.connection import Connection
from sql.rows import QueueOverview, Unfinished
from sql.statements import load
from sql.stats import unfinished

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


def depth(conn: Connection, queue: str, at_most: int | None = None) -> int | None:
    """How many jobs of `queue` are due; paused or not. None when more than `at_most` wait, due or not."""
    row = conn.fetch_one(_SQL["depth"], queue=queue, limit=at_most and at_most + 1)
    assert row is not None
    due, seen = row
    return None if at_most is not None and seen > at_most else int(due)


def waiting(conn: Connection, queue: str, at_most: int) -> int:
    """How many jobs of `queue` wait, due or not, at most `at_most`."""
    row = conn.fetch_one(_SQL["waiting"], queue=queue, limit=at_most)
    assert row is not None
    return int(row[0])


def overview(conn: Connection, limit: int = 1000, counted: list[Unfinished] | None = None) -> list[QueueOverview]:
    """The queues with unfinished jobs and the paused ones, by name; from `counted` if they were counted before."""
    paused: dict[str, str] = dict(conn.fetch_all(_SQL["paused"]))
    if counted is None:
        counted = unfinished(conn) or []
    queues = {name: QueueOverview(name, 0, 0, 0, 0, None, since) for name, since in paused.items()}
    for each in counted:
        queues[each.queue] = QueueOverview(
            each.queue, each.depth, each.queued, each.retrying, each.running, each.oldest_ready_seconds,
            paused.get(each.queue),
        )  # fmt: skip
    return [queues[name] for name in sorted(queues)[:limit]]
