"""Hints: work came. They may be lost without harm, since every pool also polls."""

from sql.connection import Connection
from sql.errors import Unavailable
from sql.statements import load

_SQL = load("hints")


def listen(conn: Connection) -> None:
    """From now on `conn.notifications()` holds what `hint` sent, also by others."""
    conn.execute(_SQL["listen"])


def hint(conn: Connection, count: int | str) -> None:
    """Tells every pool that `count` jobs came. Raises Unavailable on a server that does not write any more."""
    if not conn.execute(_SQL["hint"], count=str(count)):
        raise Unavailable("the server has become read-only: whoever works has left it")
