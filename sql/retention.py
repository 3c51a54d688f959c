"""Deletes what is past its retention, a bounded number at a time."""

from sql.connection import Connection
from sql.statements import load

_SQL = load("retention")


def prune_done(conn: Connection, *, days: int, limit: int = 1000) -> int:
    """Deletes up to `limit` jobs that ended more than `days` days ago. Answers how many."""
    row = conn.fetch_one(_SQL["prune_done"], days=days, limit=limit)
    assert row is not None
    return int(row[0])


def prune_keys(conn: Connection, *, limit: int = 1000) -> int:
    """Deletes up to `limit` idempotency keys whose window has ended. Answers how many."""
    return conn.execute(_SQL["prune_keys"], limit=limit)
