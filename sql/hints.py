"""Hints: work came. They may be lost without harm, since every pool also polls."""

from sql.connection import Connection
from sql.errors import Rejected, Unavailable
from sql.statements import load

_SQL = load("hints")


def listen(conn: Connection) -> None:
    """From now on `conn.notifications()` holds what `hint` sent, also by others."""
    conn.execute(_SQL["listen"])


def hint(conn: Connection, count: int | str) -> None:
    """Tells every pool that `count` jobs came. Raises Unavailable on a server that does not write any more, Rejected
    while its queue of notifications is full.
    """
    try:
        sent = conn.execute(_SQL["hint"], count=str(count))
    except Rejected:
        conn.fetch_one(_SQL["forget_what_all_have_heard"])
        sent = conn.execute(_SQL["hint"], count=str(count))
    if not sent:
        raise Unavailable("the server has become read-only: whoever works has left it")
