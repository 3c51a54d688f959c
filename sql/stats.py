"""Read-only numbers for metrics and people."""

from sql.connection import Connection
from sql.rows import QueueAge, QueueDepth, Unfinished
from sql.statements import load

_SQL = load("stats")


def ping(conn: Connection) -> None:
    """One round trip. Raises Unavailable."""
    conn.execute(_SQL["ping"])


def unfinished(conn: Connection, at_most: int | None = None) -> list[Unfinished] | None:
    """The queues that hold jobs that have not ended, by name.

    It takes as long as there are such jobs: None when more than `at_most` wait or more than `at_most` run.
    """
    queues = [Unfinished(*row) for row in conn.fetch_all(_SQL["unfinished"], limit=at_most and at_most + 1)]
    if at_most is not None:
        waiting = sum(queue.queued + queue.retrying for queue in queues)
        if max(waiting, sum(queue.running for queue in queues)) > at_most:
            return None
    return queues


def depths(conn: Connection) -> list[QueueDepth]:
    """Jobs that have not ended, by queue and status."""
    return depths_of(unfinished(conn) or [])


def depths_of(queues: list[Unfinished]) -> list[QueueDepth]:
    """As `depths`, of queues that were counted."""
    return [
        QueueDepth(queue.queue, status, jobs)
        for queue in queues
        for status, jobs in (("queued", queue.queued), ("retrying", queue.retrying), ("running", queue.running))
        if jobs
    ]


def oldest_ready(conn: Connection) -> list[QueueAge]:
    """How long the oldest due job of each queue has waited; queues without due work are absent."""
    return oldest_of(unfinished(conn) or [])


def oldest_of(queues: list[Unfinished]) -> list[QueueAge]:
    """As `oldest_ready`, of queues that were counted."""
    return [
        QueueAge(queue.queue, queue.oldest_ready_seconds) for queue in queues if queue.oldest_ready_seconds is not None
    ]


def inflight_leases(conn: Connection) -> int:
    """Jobs leased over HTTP now."""
    return sum(queue.leased for queue in unfinished(conn) or [])
