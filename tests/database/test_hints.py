"""Hints: they reach whoever listens, and an enqueue never sends one by itself."""

import select
from collections.abc import Callable

from support.waiting import until
from support.work import add

from sql import hints
from sql.connection import Connection

Opener = Callable[[], Connection]


def heard(conn: Connection) -> list[str]:
    """What came since the last look, if anything does within a moment."""
    select.select([conn.fileno()], [], [], 0.05)
    return conn.notifications()


def test_a_hint_reaches_every_listener(connection: Connection, open_another: Opener) -> None:
    listeners = [open_another(), open_another()]
    for listener in listeners:
        hints.listen(listener)
    hints.hint(connection, 7)
    for listener in listeners:
        assert until(lambda listener=listener: heard(listener)) == ["7"]
        assert listener.notifications() == []


def test_a_listener_hears_itself(connection: Connection) -> None:
    hints.listen(connection)
    hints.hint(connection, "proof")
    assert until(lambda: heard(connection)) == ["proof"]


def test_who_does_not_listen_hears_nothing(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    hints.hint(connection, 1)
    assert heard(other) == []


def test_an_enqueue_sends_no_hint_of_its_own(connection: Connection, open_another: Opener) -> None:
    # Inside its transaction it would cap all enqueuers together.
    listener = open_another()
    hints.listen(listener)
    add(connection)
    hints.hint(connection, "after it")
    assert until(lambda: heard(listener)) == ["after it"]


def test_hints_at_once_are_all_heard(connection: Connection, open_another: Opener) -> None:
    listener = open_another()
    hints.listen(listener)
    for n in range(50):
        hints.hint(connection, n)
    all_heard: list[str] = []
    until(lambda: all_heard.extend(heard(listener)) or len(all_heard) == 50)
    assert all_heard == [str(n) for n in range(50)]
