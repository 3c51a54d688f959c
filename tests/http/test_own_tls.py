"""Where gunicorn itself does TLS, requests are answered as anywhere."""

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.web import Web

JOB = b'{"kind": "external", "payload": {"n": 1}}'


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    return made


@pytest.fixture
def web(tmp_path: Path, database_url: str, authority: trustme.CA) -> Iterator[Web]:
    assert authority
    web = Web(
        tmp_path,
        database_url,
        ("--certfile", str(tmp_path / "server.pem")),
        authority=tmp_path / "authority.pem",
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"),
    )
    yield web.ready()
    web.end()


def test_a_connection_is_kept_for_many_requests_and_nothing_fails(web: Web, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", web.port, context=context, timeout=10)
    local = set()
    for _ in range(5):
        connection.request("POST", "/jobs", JOB, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()[:1]) == (201, b"{")
        local.add(connection.sock.getsockname())
    connection.close()
    assert len(local) == 1
    assert web.terminate(10) == 0
    assert "Traceback" not in web.log()
