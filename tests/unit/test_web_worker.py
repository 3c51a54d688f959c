"""Whose next request a thread of gunicorn waits for."""

import io
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from app.worker import Worker

THREADS = 4


@pytest.fixture
def worker() -> Worker:
    made = Worker.__new__(Worker)
    made.cfg = SimpleNamespace(threads=THREADS)
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
    buffer = io.BytesIO()
    buffer.write(buffered)
    return SimpleNamespace(sock=ours, parser=SimpleNamespace(unreader=SimpleNamespace(buf=buffer)))


def test_a_request_that_has_come_is_answered_by_the_same_thread(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    theirs.sendall(b"GET")
    assert worker._asks_again(connection(ours))


def test_a_client_that_pauses_is_given_back(worker: Worker, ends: tuple[socket.socket, socket.socket]) -> None:
    assert not worker._asks_again(connection(ends[0]))


def test_a_request_that_came_together_with_the_last_is_not_waited_for(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    assert worker._asks_again(connection(ends[0], buffered=b"GET /"))


def test_with_more_than_half_of_the_threads_busy_none_waits_for_a_next_request(
    worker: Worker, ends: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = ends
    theirs.sendall(b"GET")
    worker._busy |= dict.fromkeys(range(THREADS // 2), 0.0)
    assert not worker._asks_again(connection(ours))
