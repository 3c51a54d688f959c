"""Read-only numbers for metrics and people."""

from sql.connection import Connection
from sql.rows import QueueAge, QueueDepth
from sql.statements import load

_SQL = load("stats")


def ping(conn: Connection) -> None:
    """One round trip. Raises Unavailable."""
    conn.execute(_SQL["ping"])


def depths(conn: Connection) -> list[QueueDepth]:
    """Jobs that have not ended, by queue and status."""
    return [QueueDepth(*row) for row in conn.fetch_all(_SQL["depths"])]


def oldest_ready(conn: Connection) -> list[QueueAge]:
    """How long the oldest due job of each queue has waited; queues without due work are absent."""
    return [QueueAge(*row) for row in conn.fetch_all(_SQL["oldest_ready"])]


def inflight_leases(conn: Connection) -> int:
    """Jobs leased over HTTP now."""
    row = conn.fetch_one(_SQL["inflight_leases"])
    assert row is not None
    return int(row[0])
