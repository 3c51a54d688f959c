"""Whose next request a thread of gunicorn waits for."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from gunicorn.http.unreader import SocketUnreader

from app.arrivals import Bounds
from app.worker import Worker

THREADS = 4
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def worker() -> Worker:
    made = Worker.__new__(Worker)
    made.cfg = SimpleNamespace(threads=THREADS, is_ssl=False)
    made._bounds = Bounds(1000, 100, 1000)
    made._busy = {"this one": 0.0}
    return made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def connection(ours: socket.socket, buffered: bytes = b"") -> SimpleNamespace:
    """As gunicorn has it: what was read beyond the last request stands in the parser's buffer."""
    unreader = SocketUnreader(ours)
    unreader.unread(buffered)
    return SimpleNamespace(sock=ours, parser=SimpleNamespace(unreader=unreader), complete=True)


def test_a_request_that_has_come_is_answered_by_the_same_thread(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    theirs.sendall(REQUEST)
    assert worker._asks_again(connection(ours))


def test_a_client_that_pauses_is_given_back(worker: Worker, ends: tuple[socket.socket, socket.socket]) -> None:
    assert not worker._asks_again(connection(ends[0]))


def test_a_request_that_came_together_with_the_last_is_not_waited_for(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    assert worker._asks_again(connection(ends[0], buffered=REQUEST))


def test_with_more_than_half_of_the_threads_busy_none_waits_for_a_next_request(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    theirs.sendall(REQUEST)
    worker._busy |= dict.fromkeys(range(THREADS // 2), 0.0)
    assert not worker._asks_again(connection(ours))


@pytest.mark.parametrize("buffered", [b"", REQUEST[:5]])
def test_a_client_that_sends_its_next_request_slowly_holds_no_thread(
    worker: Worker, ends: tuple[socket.socket, socket.socket], buffered: bytes
) -> None:
    ours, theirs = ends
    theirs.sendall(REQUEST[len(buffered) : 20])
    conn = connection(ours, buffered)
    assert not worker._asks_again(conn)
    assert conn.parser.unreader.take_buffered() == REQUEST[:20]
