"""Clients that send slowly, or nothing, or do not hang up hold none of the threads: others are answered at once."""

import resource
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.database import Databases
from support.figures import Publish
from support.waiting import until
from support.web import Web, running_web

THREADS = 4
BODY = b'{"kind":"external","payload":1}'
POST = b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
# What each slow client sends at once, and then a byte at a time; None: nothing more.
SLOW: dict[str, tuple[bytes, bytes | None]] = {
    "heads a byte at a time": (b"", b"GET /health HTTP/1.1\r\nX: " + b"x" * 400),
    "heads that stop": (b"GET /health HTTP/1.1\r\nX:", None),
    "bodies a byte at a time": (POST + b"Content-Length: 31\r\n\r\n", BODY[:-1]),
    "bodies that stop": (POST + b"Content-Length: 31\r\n\r\n" + BODY[:5], None),
    "bodies of a length with zeros in front": (POST + b"Content-Length: " + b"0" * 40 + b"31\r\n\r\n", None),
    "chunks that stop": (POST + b"Transfer-Encoding: chunked\r\n\r\n1f\r\n" + BODY[:5], None),
    "a last chunk without an end": (POST + b"Transfer-Encoding: chunked\r\n\r\n1f\r\n" + BODY + b"\r\n0\r\n", None),
    "bodies that wait for 100": (POST + b"Expect: 100-continue\r\nContent-Length: 31\r\n\r\n", None),
    "bodies too large that stop": (POST + b"Content-Length: 9999999\r\n\r\n" + BODY, None),
    "chunks too large that stop": (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"x" * 5000, None),
    "a second request that stops": (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /health HTTP", None),
    "answers without a hang-up": (HEALTH, None),
    "nothing": (b"", None),
}


@pytest.fixture(scope="module")
def web(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One process with few threads."""
    with databases.migrated() as url, running_web(
        tmp_path_factory.mktemp("web"), url, WEB_THREADS=str(THREADS), MAX_BODY_BYTES="4096"
    ) as web:  # fmt: skip
        yield web


def connected(stack: ExitStack, web: Web) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=10))


@contextmanager
def slow_clients(web: Web, count: int, at_once: bytes, slowly: bytes | None) -> Iterator[list[socket.socket]]:
    """So many clients, who go on for as long as the block lasts."""
    ending = threading.Event()
    with ExitStack() as stack:
        clients = [connected(stack, web) for _ in range(count)]
        for client in clients:
            client.sendall(at_once)

        def trickle() -> None:
            for at in range(len(slowly or b"")):
                for client in clients:
                    try:
                        client.sendall((slowly or b"")[at : at + 1])
                    except OSError:
                        pass
                if ending.wait(0.02):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield clients
        finally:
            ending.set()
            thread.join()


def health_seconds(web: Web, times: int) -> list[float]:
    """How long `/health` takes, each on a connection of its own."""
    taken = []
    for _ in range(times):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
            connection.sendall(HEALTH)
            answer = connection.recv(65536)
        taken.append(time.monotonic() - began)
        assert answer.startswith(b"HTTP/1.1 200")
    return taken


@pytest.mark.parametrize("how", SLOW)
def test_others_are_answered_at_once_whatever_slow_clients_do(web: Web, publish: Publish, how: str) -> None:
    at_once, slowly = SLOW[how]
    count = 50 * THREADS
    with slow_clients(web, count, at_once, slowly):
        taken = health_seconds(web, 40)
    median, longest = statistics.median(taken), max(taken)
    publish(f"{count} slow clients, {how}: /health median {median * 1000:.1f} ms, longest {longest * 1000:.0f} ms")
    assert longest < 1.0
    assert '"ERROR"' not in web.log()


def test_more_connections_than_there_may_be_keep_nobody_out(start_web: Callable[..., Web], publish: Publish) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 4096), before[1]))
    try:
        web = start_web("--worker-connections", "100", WEB_THREADS=str(THREADS))
        with slow_clients(web, 1000, b"", None) as idle:
            taken = health_seconds(web, 40)
            kept = sum(is_open(each) for each in idle)
        publish(f"1,000 idle connections where 100 may be: /health longest {max(taken) * 1000:.0f} ms, {kept} kept")
        assert max(taken) < 1.0
        assert 80 <= kept <= 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_slow_request_is_answered_when_it_has_come(web: Web) -> None:
    request = POST + b"Connection: close\r\nContent-Length: 31\r\n\r\n" + BODY
    with ExitStack() as stack:
        client = connected(stack, web)
        for byte in request:
            client.sendall(bytes([byte]))
        assert client.recv(65536).startswith(b"HTTP/1.1 201")


def test_a_client_that_waits_for_100_is_told_to_go_on(web: Web) -> None:
    with ExitStack() as stack:
        client = connected(stack, web)
        client.sendall(POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 31\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        said = b""
        while piece := client.recv(65536):
            said += piece
        assert b"HTTP/1.1 201" in said


def test_who_reads_no_answer_holds_a_thread_for_seconds_and_leaves_no_error(
    start_web: Callable[..., Web], publish: Publish
) -> None:
    web = start_web(WEB_THREADS=str(THREADS))
    for _ in range(14):
        assert web.post_job(payload="x" * 1_000_000).status == 201
    with ExitStack() as stack:
        for _ in range(THREADS):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", web.port))
            client.sendall(b"GET /jobs?limit=200 HTTP/1.1\r\nHost: h\r\n\r\n")
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", web.port), timeout=40) as another:
            another.sendall(HEALTH)
            assert another.recv(65536).startswith(b"HTTP/1.1 200")
        publish(f"{THREADS} clients read no answer: /health after {time.monotonic() - began:.1f} s")
    assert '"ERROR"' not in web.log()


def test_a_body_of_a_hundred_thousand_chunks_is_read_in_no_time(start_web: Callable[..., Web]) -> None:
    web = start_web()
    body = b'{"kind":"external","payload":"%s"}' % (b"x" * 100_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with ExitStack() as stack:
        client = connected(stack, web)
        # Where each copied all that came after it, these took more than a minute.
        client.settimeout(20)
        client.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert client.recv(65536).startswith(b"HTTP/1.1 201")


def test_chunks_that_are_nearly_all_framing_are_refused(web: Web) -> None:
    sent = POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"e" * 8000 + b"\r\nx\r\n") * 120
    with ExitStack() as stack:
        client = connected(stack, web)
        client.sendall(sent)
        said = b""
        while piece := client.recv(65536):
            said += piece
    assert said == b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def test_who_does_not_finish_a_request_is_hung_up_on(start_web: Callable[..., Web]) -> None:
    web = start_web("--timeout", "1")
    with slow_clients(web, 3, POST, None) as clients:
        until(lambda: not any(map(is_open, clients)), seconds=5, message="they are hung up on")


def test_slow_clients_do_not_hold_up_a_stop(start_web: Callable[..., Web]) -> None:
    web = start_web()
    with slow_clients(web, 20, POST, None), slow_clients(web, 20, b"", None):
        began = time.monotonic()
        assert web.terminate() == 0
        assert time.monotonic() - began < 6
