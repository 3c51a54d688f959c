"""When a request has come: not sooner, or a thread would wait for it, and not later, or nobody would answer it."""

import socket
import time

import pytest

from app.arrivals import Arrival, Bounds

BOUNDS = Bounds(head=400, line=60, body=100)
HEAD = b"POST /jobs HTTP/1.1\r\nHost: h\r\n"


def post(headers: bytes, body: bytes = b"") -> bytes:
    return HEAD + headers + b"\r\n" + body


WHOLE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    post(b"Content-Length: 0\r\n"),
    post(b"Content-Length: 5\r\n", b"12345"),
    post(b"content-length:\t5 \r\nX: y\r\n", b"\r\n\r\n5"),
    post(b"Content-Length: 000000000000000000000000000005\r\n", b"12345"),
    post(b"Content-Length: 100\r\n", b"x" * 100),
    post(b"X: Content-Length: 9\r\n"),
    post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    post(b"Transfer-Encoding: chunked\r\n", b"5\r\n12345\r\n0\r\n\r\n"),
    post(b"transfer-encoding : gzip, chunked\r\n", b"a;x=1\r\n0\r\n\r\n12345\r\n00\r\nTrailer: 1\r\n\r\n"),
    post(b"Transfer-Encoding: chunked\r\n", b"".join(b"1\r\n%d\r\n" % (n % 10) for n in range(80)) + b"0\r\n\r\n"),
]
# What is left to the parser, which refuses it or cuts it off: by how many of these bytes.
LEFT_TO_OTHERS = [
    (post(b"Content-Length: 101\r\n"), 0),
    (post(b"Content-Length: 9999999999999999999999999\r\n"), 0),
    (post(b"Content-Length: 5\r\nContent-Length: 50\r\n"), 0),
    (post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n"), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"-5\r\n"), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"\r\n"), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"5;" + b"x" * 61), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"ffff\r\n" + b"x" * 101), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"40\r\n" + b"x" * 64 + b"\r\n40\r\n" + b"x" * 37), 0),
    (post(b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"T: x\r\n" * 67), 1),
    (b"x" * 401, 0),
    (HEAD + b"X: " + b"y" * (401 - len(HEAD) - 3), 0),
    (b"GET / HTTP/1.1\n", 0),
    (HEAD + b"X: y\n", 0),
]


def become_whole(arrival: Arrival, sent: bytes, piece: int) -> int:
    """How many bytes had come when it was whole, sent in such pieces; -1 if it never was."""
    ours, theirs = socket.socketpair()
    try:
        for at in range(0, len(sent), piece):
            theirs.sendall(sent[at : at + piece])
            arrival.read(ours)
            if arrival.whole:
                return len(arrival.data)
        return -1
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("request_", WHOLE)
def test_a_request_is_whole_with_its_last_byte(request_: bytes, piece: int) -> None:
    arrival = Arrival(BOUNDS)
    assert become_whole(arrival, request_, piece) == len(request_)
    assert arrival.complete
    assert bytes(arrival.data) == request_


@pytest.mark.parametrize("request_", WHOLE)
def test_what_follows_it_changes_nothing(request_: bytes) -> None:
    arrival = Arrival(BOUNDS, request_ + HEAD)
    assert arrival.complete
    assert not Arrival(BOUNDS, request_[:-1]).whole


@pytest.mark.parametrize(("request_", "early"), LEFT_TO_OTHERS)
def test_what_the_parser_can_refuse_is_left_to_it_as_soon_as_it_can(request_: bytes, early: int) -> None:
    arrival = Arrival(BOUNDS)
    assert len(request_) - early <= become_whole(arrival, request_, 1) <= len(request_)


def test_of_two_lengths_or_two_framings_none_counts() -> None:
    for headers in (b"Content-Length: 5\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nTransfer-Encoding: x\r\n"):
        assert Arrival(BOUNDS, post(headers)).whole


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1;" + b"e" * 50 + b"\r\nx\r\n"])
def test_chunks_that_are_nearly_all_framing_are_refused_before_they_hold_more_than_a_head(chunk: bytes) -> None:
    arrival = Arrival(BOUNDS)
    sent = post(b"Transfer-Encoding: chunked\r\n", chunk * 95)
    came = become_whole(arrival, sent, 1)
    assert arrival.refused
    assert BOUNDS.head < came - sent.index(b"\r\n\r\n") <= BOUNDS.head + 100 + 2 * len(chunk)


def test_one_look_takes_a_part_of_what_a_fast_client_sends_and_the_next_one_more() -> None:
    class Endless:
        def recv(self, size: int, _flags: int) -> bytes:
            return b"x" * size

    arrival = Arrival(Bounds(400, 60, 1 << 40), post(b"Content-Length: 9999999999\r\n"))
    for times in (1, 2):
        arrival.read(Endless())  # type: ignore[arg-type]
        assert (times - 1) << 20 < len(arrival.data) < (times + 1) << 20


def test_who_hangs_up_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(HEAD)
    theirs.close()
    arrival = Arrival(BOUNDS)
    arrival.read(ours)
    ours.close()
    assert arrival.whole
    assert not arrival.complete


@pytest.mark.parametrize(
    ("headers", "expects"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 5\r\n", True),
        (b"Content-Length: 5\r\nexpect:100-Continue\r\n", True),
        (b"Content-Length: 5\r\nExpect: else\r\n", False),
        (b"Content-Length: 500\r\nExpect: 100-continue\r\n", False),
    ],
)
def test_who_waits_for_a_word_before_sending_more_is_known(headers: bytes, expects: bool) -> None:
    assert Arrival(BOUNDS, post(headers)).expects is expects
    assert not Arrival(BOUNDS, post(headers).replace(b"1.1", b"1.0")).expects


# As gunicorn's own limits make it: a request line, a hundred headers, and the ends of their lines.
LARGEST_HEAD = 4094 + 100 * (8190 + 2) + 4


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1\r\n",
        b"Expect:" + b" " * 8000 + b"\r\n",
        b"Content-Length:" + b" " * 4000 + b"1" * 4000 + b" x\r\n",
        b"Content-Length:\r\n",
        b"Transfer-Encoding" + b"\t" * 8000 + b"\r\n",
        b"\r" * 1000 + b"\r\n",
    ],
)
def test_the_largest_head_is_looked_through_at_once_whatever_stands_in_it(line: bytes) -> None:
    head = HEAD + line * ((LARGEST_HEAD - len(HEAD) - 2) // len(line)) + b"\r\n"
    # A second for what takes a hundredth of it, and took minutes.
    began = time.process_time()
    assert Arrival(Bounds(LARGEST_HEAD, 8190, 100), head).complete
    assert time.process_time() - began < 1
