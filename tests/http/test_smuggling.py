"""Requests that a proxy in front may take for one: gunicorn refuses them or takes them for one too, never for two."""

import json
import socket
from collections.abc import Iterator

import pytest
from support.database import Databases
from support.figures import Publish
from support.web import Web, running_web

JOB = b'{"kind":"external","payload":1,"queue":"smuggled"}'
JSON = b"Host: h\r\nContent-Type: application/json\r\n"
HIDDEN = b"POST /jobs HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (JSON, len(JOB), JOB)
START = b"POST /v1/lease HTTP/1.1\r\n" + JSON

CODINGS = [
    *(b"Transfer-Encoding: chunked", b"transfer-encoding: CHUNKED", b"Transfer-Encoding : chunked"),
    *(b" Transfer-Encoding: chunked", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: chunked "),
    *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: chunked, identity"),
    *(b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip"),
    *(b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: , chunked", b"Transfer-Encoding: chunked,"),
    *(b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: \x00chunked", b"Transfer-Encoding: chun\x00ked"),
    *(b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: 'chunked'"),
    *(b"Transfer-Encoding\x0b: chunked", b"Transfer-Encoding\x00: chunked", b"Transfer-Encoding\xa0: chunked"),
    *(b"Transfer Encoding: chunked", b"Transfer-Encoding chunked"),
    *(b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: x\r\n\tchunked", b"X: y\nTransfer-Encoding: chunked"),
    *(b"X: y\rTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\nX: y", b"Transfer-Encoding\n: chunked"),
    *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
    *(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding:", b"Transfer-Encoding: "),
    b"Transfer-Encoding: chunked\r\nTrailer: Content-Length",
]
LENGTHS = [
    *(b"Content-Length: %d\r\nContent-Length: 0", b"Content-Length: 0\r\nContent-Length: %d"),
    *(b"Content-Length: %d\r\nContent-Length: %d", b"Content-Length: 0, %d", b"Content-Length: %d, 0"),
    *(b"Content-Length: %d, %d", b"Content-Length: +%d", b"Content-Length: -%d", b"Content-Length: 0 %d"),
    *(b"Content-Length : %d", b" Content-Length: %d", b"Content-Length:\r\n %d", b"Content-Length: 0\r\n %d"),
    *(b"Content-Length\x00: %d", b"Content-Length: %d\x00", b"Content-Length:\x0b%d"),
    *(b"X: y\nContent-Length: %d", b"X: y\rContent-Length: %d", b"Content-Length: %d\nX: y", b"Content-Length: 0x%x"),
    *(b"Content-Length: %d.0", b"Content-Length: %d_0", b"Content-Length: \xb2%d", b"Content-Length %d"),
    *(b'Content-Length: "%d"', b"content-LENGTH: %d\r\nContent-length: 0", b"Content-Length:", b"Content-Length: ;%d"),
]
CHUNKS = [
    *(b"0\n\n", b"0\r\n\n", b"0\n\r\n", b"0\r\r\n\r\n"),
    *(b"0;\n\r\n\r\n", b'0;x="\r\n\r\n"\r\n\r\n', b"0x0\r\n\r\n", b"+0\r\n\r\n", b"-0\r\n\r\n", b"0 \r\n\r\n"),
    *(b" 0\r\n\r\n", b"0_0\r\n\r\n", b"\r\n0\r\n\r\n", b"\r\n\r\n", b"g\r\n\r\n", b"5\r\nhello0\r\n\r\n"),
    *(b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n", b"5\nhello\n0\n\n"),
    *(b"5\r\nhell\r\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n\r\n0\r\n\r\n"),
    *(b"10000000000000000\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\nX: y\n\r\n"),
    *(b"0\r\nHost: i\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\x00\r\n\r\n", b"0\xa0\r\n\r\n"),
]


def _body_of_a_length(coding: bytes) -> bytes:
    """One request to whoever goes by the length: the hidden one is its body. Another to whoever sees chunks."""
    body = b"0\r\n\r\n" + HIDDEN
    return START + b"Content-Length: %d\r\n" % len(body) + coding + b"\r\n\r\n" + body


def _body_of_chunks(coding: bytes) -> bytes:
    """One request to whoever sees chunks: the hidden one is in the first. Another to whoever goes by the length."""
    size = b"%x\r\n" % len(HIDDEN)
    body = size + HIDDEN + b"\r\n0\r\n\r\n"
    return START + coding + b"\r\nContent-Length: %d\r\n\r\n" % len(size) + body


def _length(form: bytes) -> bytes:
    """One request to whoever reads the length one way: the hidden one is its body."""
    numbers = (len(HIDDEN),) * form.count(b"%d") or (len(HIDDEN),) * form.count(b"%x")
    return START + (form % numbers if numbers else form) + b"\r\n\r\n" + HIDDEN


def _chunks(chunks: bytes) -> bytes:
    """One request to whoever reads on behind these chunks, which are broken or look as if they ended."""
    return START + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + HIDDEN


# One request with an end in a place where some see none, or of a form that some take for another.
OTHERS = {
    "a bare LF ends the head": START.replace(b"\r\n", b"\n") + b"\n" + HIDDEN,
    "a bare LF ends the last header": START + b"X: y\n\r\n" + HIDDEN,
    "an empty line of bare LF": START + b"X: y\r\n\n" + HIDDEN,
    "a bare CR ends the head": START.replace(b"\r\n", b"\r") + b"\r" + HIDDEN,
    "CR CR LF": START + b"X: y\r\r\n\r\n" + HIDDEN,
    "a header without a colon": START + b"X\r\n\r\n" + HIDDEN,
    "a header without a name": START + b": y\r\n\r\n" + HIDDEN,
    "a folded request line": b"POST /v1/lease\r\n HTTP/1.1\r\n\r\n" + HIDDEN,
    "a space before the first header": b"POST /v1/lease HTTP/1.1\r\n Host: h\r\n\r\n" + HIDDEN,
    "NUL in a header": START + b"X: \x00\r\n\r\n" + HIDDEN,
    "chunks in HTTP/1.0": _body_of_chunks(b"Transfer-Encoding: chunked").replace(b"1.1", b"1.0", 1),
    "HTTP/0.9": b"GET /health\r\n\r\n" + HIDDEN,
    "no version": b"POST /v1/lease\r\nHost: h\r\n\r\n" + HIDDEN,
    "a version with two digits": START.replace(b"1.1", b"1.11") + b"\r\n" + HIDDEN,
    "two hosts": START + b"Host: i\r\n\r\n" + HIDDEN,
    "a path with a line end": b"POST /v1/lease\n/x HTTP/1.1\r\nHost: h\r\n\r\n" + HIDDEN,
    "a path with a space": b"POST /v1/lease x HTTP/1.1\r\nHost: h\r\n\r\n" + HIDDEN,
    "tabs in the request line": b"POST\t/v1/lease\tHTTP/1.1\r\nHost: h\r\n\r\n" + HIDDEN,
    "a tunnel": b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n" + HIDDEN,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "an expectation": START + b"Expect: something\r\n\r\n" + HIDDEN,
}
CASES = {
    **{f"length over {coding!r}": _body_of_a_length(coding) for coding in CODINGS},
    **{f"chunks over {coding!r}": _body_of_chunks(coding) for coding in CODINGS},
    **{f"{form!r}": _length(form) for form in LENGTHS},
    **{f"chunks {chunks!r}": _chunks(chunks) for chunks in CHUNKS},
    **OTHERS,
}


@pytest.fixture(scope="module")
def web(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with databases.migrated() as url, running_web(tmp_path_factory.mktemp("web"), url, LOG_LEVEL="debug") as web:
        yield web


def answers(web: Web, sent: bytes) -> list[int]:
    """The statuses of all that comes back."""
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except ConnectionResetError:
            pass
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:] if not part.startswith(b"100")]


def hidden_jobs(web: Web) -> int:
    return len(web.request("GET", "/jobs?queue=smuggled&limit=200").json())


def test_two_requests_behind_one_another_are_two(web: Web) -> None:
    """Whether the tests below would see it."""
    assert answers(web, HIDDEN + HIDDEN) == [201, 201]
    assert hidden_jobs(web) == 2


def test_what_a_proxy_takes_for_one_request_is_never_two(web: Web, publish: Publish) -> None:
    before = hidden_jobs(web)
    refused, one, two = [], [], []
    for name, sent in CASES.items():
        statuses = answers(web, sent)
        now = hidden_jobs(web)
        (two if now > before or len(statuses) > 1 else refused if statuses and statuses[0] >= 400 else one).append(name)
        before = now
    publish(f"{len(CASES)} forms: {len(refused)} refused, {len(one)} taken for one request, {len(two)} for two")
    assert not two, json.dumps(two, indent=1)
    assert len(refused) + len(one) == len(CASES)
    assert web.log().count("Traceback") == 0
