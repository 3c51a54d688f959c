"""Whose next request a thread of gunicorn waits for."""

import selectors
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from app import worker as worker_module
from app.arrivals import Arrival, Bounds
from app.connection import PiecesUnreader
from app.partings import Partings
from app.worker import Worker

THREADS = 4
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker.__new__(Worker)
    made.cfg = SimpleNamespace(threads=THREADS, is_ssl=False)
    made._bounds = Bounds(1000, 100, 1000)
    made._busy = {"this one": 0.0}
    made._arriving, made._handed = {}, {}
    made._gathered = made._waiting = 0
    made._lock = threading.Lock()
    made.nr_conns = 0
    with selectors.DefaultSelector() as poller:
        made.partings = Partings(poller, THREADS)
        yield made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def connection(ours: socket.socket, buffered: bytes = b"") -> SimpleNamespace:
    """As gunicorn has it: what was read beyond the last request stands in the parser's buffer."""
    unreader = PiecesUnreader(ours)
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


class Client(SimpleNamespace):
    """A connection that keeps what became of it."""

    __hash__ = object.__hash__

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(5)
        super().__init__(**vars(connection(self.ours)), closed=False)

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002
        self.closed = True


@pytest.fixture
def crowded(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Worker, list[Client]]]:
    """Of whose threads none is free, with place for a hundred bytes; and clients."""
    monkeypatch.setattr(worker_module, "_MOST_GATHERED", 100)
    monkeypatch.setattr(worker_module.ThreadWorker, "enqueue_req", lambda *_: None)
    monkeypatch.setattr(worker_module.ThreadWorker, "handle", lambda *_: False)
    worker._bounds = Bounds(1000, 100, 0)
    worker.cfg.timeout = 60
    worker.poller = SimpleNamespace(unregister=lambda _: None)
    clients = [Client() for _ in range(3)]
    yield worker, clients
    for each in clients:
        each.ours.close()
        each.theirs.close()


def arriving(worker: Worker, client: Client, size: int) -> None:
    worker._arriving[client] = Arrival(worker._bounds, b"x" * size)
    worker._gathered += size


def test_what_waits_for_a_thread_counts_until_its_thread_begins(crowded: tuple[Worker, list[Client]]) -> None:
    worker, (first, second, third) = crowded
    worker._hand_over(first, Arrival(worker._bounds, b"x" * 60))
    worker._hand_over(second, Arrival(worker._bounds, b"x" * 60))
    assert second.theirs.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert second.theirs.recv(1000) == b""
    assert worker._handed.keys() == {first}
    worker.handle(first)
    worker._hand_over(third, Arrival(worker._bounds, b"x" * 60))
    assert worker._handed.keys() == {third}


def test_the_largest_that_is_still_arriving_makes_way_for_one_that_is_whole(
    crowded: tuple[Worker, list[Client]],
) -> None:
    worker, (small, large, whole) = crowded
    arriving(worker, small, 30)
    arriving(worker, large, 50)
    worker._hand_over(whole, Arrival(worker._bounds, b"x" * 40))
    assert (small.closed, large.closed, whole.closed) == (False, True, False)


def test_who_is_refused_for_his_framing_never_gets_a_thread(crowded: tuple[Worker, list[Client]]) -> None:
    worker, (client, *_) = crowded
    arrival = Arrival(worker._bounds, b"x")
    arrival.whole = arrival.refused = True
    worker._hand_over(client, arrival)
    assert client.theirs.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert client.theirs.recv(1000) == b""
    assert not worker._handed
