"""HTTP as no library sends it, against real gunicorn: 4xx or nothing, soon, and the next request is answered."""

import gzip
import json
import socket
from collections.abc import Iterator

import pytest
from support.database import Databases
from support.web import Web, running_web

JOB = b'{"kind":"external","payload":1}'


@pytest.fixture(scope="module")
def web(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with databases.migrated() as url, running_web(tmp_path_factory.mktemp("web"), url, MAX_BODY_BYTES="2048") as web:
        yield web


@pytest.fixture(autouse=True)
def _goes_on_without_an_error(web: Web) -> Iterator[None]:
    yield
    assert web.request("GET", "/health").status == 200
    assert '"ERROR"' not in web.log()


def stored(web: Web) -> int:
    """How many jobs there are."""
    return len(web.request("GET", "/jobs?limit=200").json())


def send(web: Web, request: bytes, seconds: float = 10) -> bytes:
    """All that comes back until the server closes or says no more."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=seconds) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def post(headers: bytes, body: bytes, path: bytes = b"/jobs") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n%s\r\n%s" % (path, headers, body)


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def test_a_chunked_body_is_a_body(web: Web) -> None:
    before = stored(web)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (JOB[:5], JOB[5:])) + b"0\r\n\r\n"
    assert status(send(web, post(b"Transfer-Encoding: chunked\r\n", chunks))) == 201
    assert stored(web) == before + 1


def test_a_chunked_body_over_the_limit_is_too_large(web: Web) -> None:
    before = stored(web)
    chunks = b"400\r\n" + b"x" * 1024 + b"\r\n"
    response = send(web, post(b"Transfer-Encoding: chunked\r\n", chunks * 3 + b"0\r\n\r\n"))
    assert status(response) == 413
    assert json.loads(response.partition(b"\r\n\r\n")[2])["error"] == "payload_too_large"
    assert stored(web) == before


def test_a_body_that_is_said_to_be_over_the_limit_is_refused_before_it_comes(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=3) as connection:
        connection.sendall(post(b"Content-Length: 2049\r\n", b"x"))
        assert status(connection.recv(65536)) == 413


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 31\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 31\r\nContent-Length: 30\r\n", JOB),
        (b"Content-Length: -1\r\n", JOB),
        (b"Content-Length: 1e1\r\n", JOB),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", JOB),
        (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"ffffffffffffffffff\r\nx"),
        (b"Content-Length: 100\r\n", JOB),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\n{\"k"),
        (b"X: a\r\n b\r\n", b""),
        (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(gzip.compress(JOB)), gzip.compress(JOB)),
        (b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: %d\r\n" % len(JOB), JOB),
        (b"Idempotency-Key: caf\xc3\xa9\r\nContent-Length: %d\r\n" % len(JOB), JOB),
        (b"Idempotency-Key:\r\nContent-Length: %d\r\n" % len(JOB), JOB),
        (b"Idempotency-Key: a\x00b\r\nContent-Length: %d\r\n" % len(JOB), JOB),
        (b"".join(b"X-%d: 1\r\n" % n for n in range(500)), b""),
        (b"X: " + b"x" * 20_000 + b"\r\n", b""),
    ],
    ids=[
        "two lengths of two kinds", "two lengths", "a negative length", "a length with an exponent", "a huge length",
        "chunked before the end", "a chunk of no size", "a chunk of a huge size", "a body cut off", "a chunk cut off",
        "a folded header", "a compressed body", "a key twice", "a key in UTF-8", "an empty key", "a key with NUL",
        "500 headers", "a long header",
    ],
)  # fmt: skip
def test_what_no_good_client_sends_is_refused(web: Web, headers: bytes, body: bytes) -> None:
    before = stored(web)
    response = send(web, post(headers, body))
    assert response == b"" or 400 <= status(response) < 500, response
    assert stored(web) == before


def test_a_million_query_arguments_are_too_many(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        try:
            connection.sendall(b"GET /jobs?" + b"a=1&" * 1_000_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        except (ConnectionResetError, BrokenPipeError):
            return
        connection.settimeout(10)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            return
    assert answer == b"" or 400 <= status(answer) < 500


@pytest.mark.parametrize("host", [b"h.", b"h:99", b"[::1]", b"caf\xc3\xa9", b"a b", b"", b"h\x00"])
def test_no_host_is_a_defect_of_ours(web: Web, host: bytes) -> None:
    response = send(web, b"GET /jobs HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host)
    assert response == b"" or status(response) in (200, 400), response


def test_a_bare_line_end_a_bad_method_and_a_bad_version_are_refused(web: Web) -> None:
    for request in (
        b"GET /jobs HTTP/1.1\nHost: h\n\n", b"G\x01T /jobs HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /jobs HTTP/9.9\r\nHost: h\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
        b"GET /jobs\x00 HTTP/1.1\r\nHost: h\r\n\r\n",
    ):  # fmt: skip
        response = send(web, request)
        # 505 is what a version that nobody speaks is answered.
        assert response == b"" or 400 <= status(response) < 500 or status(response) == 505


def test_a_refused_body_does_not_become_the_next_request(web: Web) -> None:
    before = stored(web)
    smuggled = b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 31\r\n\r\n" + JOB
    first = b"POST /nope HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    response = send(web, first + smuggled)
    assert status(response) == 404
    assert stored(web) == before


def test_head_has_no_body_even_when_refused(web: Web) -> None:
    for path in (b"/jobs?limit=x", b"/nope", b"/jobs"):
        head, _, body = send(web, b"HEAD %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path).partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1")
        assert body == b""
