"""Receivers that are slow, endless or no HTTP at all: every exchange ends by its deadline, in bounded memory."""

import resource
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.handlers import a_run
from support.receiver import Exchange, Receiver

from workerpool.kinds.address_guard import Guard, parse_allowed_nets, resolve
from workerpool.kinds.pinned_http import MOST_READ, DeadlinePassed, Reply, post
from workerpool.kinds.settings import KindSettings
from workerpool.kinds.webhook_delivery import deliver
from workerpool.kinds.webhook_url import parse_target
from workerpool.outcomes import Retry

MIB = 1024 * 1024
SETTINGS = KindSettings.from_env({"WEBHOOK_SECRET": f"whsec_{'a' * 43}=", "WEBHOOK_ALLOW_NETS": "127.0.0.1/32"})


def exchange_with(receiver: Receiver, *, seconds: float = 1.0, body: bytes = b"{}", scheme: str = "") -> Reply:
    guard = Guard(parse_allowed_nets("127.0.0.1/32,::1/128"), frozenset())
    return post(
        parse_target(receiver.url.replace("http:", f"{scheme or 'http'}:")),
        body,
        {"content-type": "application/json"},
        guard=guard,
        resolve=resolve,
        deadline=time.monotonic() + seconds,
    )


def dripping(start: bytes, drop: bytes) -> Callable[[Exchange], None]:
    """Sends `start`, then `drop` ten times a second until the client has gone."""

    def answer(exchange: Exchange) -> None:
        exchange.wfile.write(start)
        while not exchange.server.receiver.ending.wait(0.1):
            exchange.wfile.write(drop)

    return answer


SLOW = {
    "nothing at all": dripping(b"", b""),
    "a status line, a byte at a time": dripping(b"HTTP/1.1 200 ", b"O"),
    "headers, a byte at a time": dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers, a line at a time": dripping(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
    "100 Continue for ever": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW.keys())
def test_a_reply_that_drips_is_cut_at_the_deadline(answer: Callable[[Exchange], None]) -> None:
    with Receiver(answer) as receiver:
        started = time.monotonic()
        with pytest.raises((DeadlinePassed, OSError)):
            exchange_with(receiver, seconds=0.4)
        assert 0.3 < time.monotonic() - started < 5


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW.keys())
@pytest.mark.usefixtures("trusting")
def test_over_tls_too(answer: Callable[[Exchange], None], certificates: Any) -> None:
    with Receiver(answer, tls=certificates.trusted) as receiver:
        started = time.monotonic()
        with pytest.raises((DeadlinePassed, OSError)):
            exchange_with(receiver, seconds=0.4)
        assert 0.3 < time.monotonic() - started < 5


def test_a_tls_handshake_that_never_comes_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver = Receiver()
        receiver.port = listener.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(DeadlinePassed, match="setting up TLS"):
            exchange_with(receiver, seconds=0.5, scheme="https")
        assert time.monotonic() - started < 5


def test_a_receiver_that_takes_the_request_a_little_at_a_time_is_cut_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        held: list[socket.socket] = []
        thread = threading.Thread(target=lambda: held.append(listener.accept()[0]))
        thread.start()
        receiver = Receiver()
        receiver.port = listener.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(DeadlinePassed, match="sending the request"):
            exchange_with(receiver, seconds=0.4, body=b"x" * (32 * MIB))
        assert time.monotonic() - started < 5
        thread.join()
        held[0].close()


def test_an_address_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        filling = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            filling.append(one)
        receiver = Receiver()
        receiver.port = port
        started = time.monotonic()
        with pytest.raises(DeadlinePassed, match="connecting"):
            exchange_with(receiver, seconds=0.4)
        assert time.monotonic() - started < 5
        for one in filling:
            one.close()


def test_a_resolver_that_hangs_is_given_up_at_the_deadline() -> None:
    released = threading.Event()

    def hang(_host: str, _port: int) -> list[object]:
        released.wait(10)
        return []

    started = time.monotonic()
    with pytest.raises(DeadlinePassed, match="resolving"):
        post(
            parse_target("http://slow.example/"),
            b"",
            {},
            guard=Guard((), frozenset({80})),
            resolve=hang,  # type: ignore[arg-type]
            deadline=time.monotonic() + 0.3,
        )
    assert time.monotonic() - started < 5
    released.set()


def test_the_second_address_is_tried_when_the_first_refuses() -> None:
    with Receiver() as receiver:
        closed = resolve("127.0.0.2", receiver.port)
        reply = post(
            parse_target(receiver.url),
            b"{}",
            {},
            guard=Guard(parse_allowed_nets("127.0.0.0/8"), frozenset()),
            resolve=lambda _host, port: [*closed, *resolve("127.0.0.1", port)],
            deadline=time.monotonic() + 5,
        )
    assert reply.status == 204


def test_a_reply_of_a_gigabyte_is_cut_after_64_kib() -> None:
    sent = 0

    def endless(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(1024 * MIB))
        exchange.end_headers()
        for _ in range(1024):
            exchange.wfile.write(bytes(MIB))
            sent += MIB

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Receiver(endless) as receiver:
        reply = exchange_with(receiver, seconds=10)
    assert reply.status == 200
    assert len(reply.body) == MOST_READ
    assert sent < 64 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_compressed_reply_is_not_unpacked() -> None:
    with Receiver(lambda exchange: exchange.reply(200, b"\x1f\x8b\x08junk", Content_Encoding="gzip")) as receiver:
        assert exchange_with(receiver).body == b"\x1f\x8b\x08junk"


@pytest.mark.parametrize(
    "after",
    [
        b"Content-Length: 10\r\n\r\n12345",
        b"Transfer-Encoding: chunked\r\n\r\nfffff\r\nabc",
        b"Content-Length: 99\r\n\r\n",
    ],
)
def test_a_2xx_whose_body_breaks_off_is_still_a_2xx(after: bytes) -> None:
    """It would be sent twice otherwise, and the receiver has said that it has it."""
    with Receiver(lambda exchange: exchange.wfile.write(b"HTTP/1.1 202 OK\r\n" + after)) as receiver:
        assert exchange_with(receiver).status == 202


def test_a_2xx_whose_body_never_ends_does_not_hold_the_worker() -> None:
    drip = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    with Receiver(drip) as receiver:
        started = time.monotonic()
        assert exchange_with(receiver, seconds=30).status == 200
        assert time.monotonic() - started < 5


def test_an_answer_before_the_whole_request_was_read_is_an_answer() -> None:
    def early(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                early(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        receiver = Receiver()
        receiver.port = listener.getsockname()[1]
        assert exchange_with(receiver, seconds=5, body=b"x" * MIB).status == 413
        thread.join()


NOT_HTTP = {
    "closed": b"",
    "text": b"hello\r\n\r\n",
    "a bad status": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "zero bytes": bytes(100),
    "an endless line": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "SMTP": b"220 mail.example ESMTP\r\n",
}


@pytest.mark.parametrize("said", NOT_HTTP.values(), ids=NOT_HTTP.keys())
def test_what_is_no_http_is_a_failure_to_be_retried(said: bytes) -> None:
    with Receiver(lambda exchange: exchange.wfile.write(said)) as receiver, pytest.raises(Retry):
        deliver({"url": receiver.url}, a_run().context, SETTINGS, resolve)


def test_the_jobs_own_deadline_bounds_the_exchange_too() -> None:
    with Receiver(dripping(b"", b"")) as receiver:
        started = time.monotonic()
        with pytest.raises(Retry, match="no answer in time"):
            deliver({"url": receiver.url, "timeout_seconds": 60}, a_run(seconds=1.2).context, SETTINGS, resolve)
        assert time.monotonic() - started < 5
