"""Rows of workers: identity of one incarnation, and its heartbeat, which is the lease of all it holds."""

from collections.abc import Sequence

from sql import arrays
from sql.connection import Connection
from sql.statements import load

_SQL = load("workers")


def register(conn: Connection, *, name: str, host: str, pid: int, pool: str, slot: int, lease_seconds: float) -> int:
    """A new identity, never used before."""
    row = conn.fetch_one(
        _SQL["register"], name=name, host=host, pid=pid, pool=pool, slot=slot, lease_seconds=lease_seconds
    )
    assert row is not None
    return int(row[0])


def beat(conn: Connection, ids: Sequence[int]) -> set[int]:
    """Beats for these workers; those missing from the answer are lost."""
    return {row[0] for row in conn.fetch_all(_SQL["beat"], ids=arrays.plain(ids))}


def mark_lost(conn: Connection) -> list[int]:
    """Marks workers not beaten for as long as their own row says. Answers their ids."""
    return [row[0] for row in conn.fetch_all(_SQL["mark_lost"])]


def lose(conn: Connection, ids: Sequence[int]) -> None:
    """Marks workers whose process is known to be gone."""
    conn.execute(_SQL["lose"], ids=arrays.plain(ids))


def forget(conn: Connection, *, seconds: float, limit: int = 1000) -> int:
    """Removes rows lost longer than `seconds` ago. Answers how many."""
    return conn.execute(_SQL["forget"], seconds=seconds, limit=limit)
