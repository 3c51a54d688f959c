"""One client's limit over all processes of one gunicorn, and through their deaths."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from support.ports import free_port
from support.processes import stopped
from support.waiting import until
from support.web import Web
from support.work import at_once

# A kept connection would ask the same worker again.
ANEW = {"Connection": "close"}
TOKENS = {"API_TOKEN": "the-clients-token", "ADMIN_TOKEN": "the-admins-token"}


def bearer(token: str) -> dict[str, str]:
    return {**ANEW, "Authorization": f"Bearer {token}"}


def test_of_many_requests_at_once_exactly_the_limit_passes_whichever_worker_takes_them(
    start_web: Callable[..., Web],
) -> None:
    web = start_web(WEB_CONCURRENCY="3", WEB_THREADS="4", RATE_LIMIT_PER_MINUTE="40")
    answers = at_once(*[lambda: web.post_job(ANEW) for _ in range(100)])
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(429)) == (40, 60)
    for answer in answers:
        if answer.status == 429:
            assert answer.json()["error"] == "rate_limited"
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert web.value("http_requests_total", method="POST", route="/jobs", status="429") == 60
    # Each worker by itself refuses too, and goes on answering those who watch.
    workers = web.workers()
    for worker in workers:
        with stopped(set(workers) - {worker}):
            assert _status(_connected(web)) == 429
            assert _status(_connected(web), path="/health") == 200


def test_a_worker_that_is_killed_takes_no_count_along(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="5")
    passed = 0
    for _ in range(3):
        passed += [web.post_job(ANEW).status for _ in range(2)].count(201)
        workers = set(web.workers())
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        until(lambda gone=workers: len(set(web.workers()) - gone) == 2, seconds=20)
        until(lambda: web.request("GET", "/healthz", headers=ANEW).status == 200, seconds=20)
    assert passed == 5
    assert web.post_job(ANEW).status == 429


def test_wrong_tokens_are_limited_by_address_over_all_workers_and_good_ones_pass(
    start_web: Callable[..., Web],
) -> None:
    web = start_web(WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="10", **TOKENS)
    answers = at_once(*[lambda n=n: web.request("GET", "/jobs", headers=bearer(f"guess-{n}")) for n in range(40)])
    statuses = [answer.status for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (10, 30)
    answers = at_once(*[lambda: web.post_job(bearer(TOKENS["API_TOKEN"])) for _ in range(20)])
    statuses = [answer.status for answer in answers]
    assert (statuses.count(201), statuses.count(429)) == (10, 10)
    assert web.request("GET", "/jobs", headers=bearer(TOKENS["ADMIN_TOKEN"])).status == 200


def test_probes_are_never_limited(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="1", **TOKENS)
    web.request("GET", "/jobs")
    assert web.request("GET", "/jobs").status == 429
    for path in ("/health", "/healthz", "/metrics", "/docs", "/docs/assets/docs.js", "/api-docs/openapi.json"):
        assert {web.request("GET", path, headers=ANEW).status for _ in range(10)} == {200}


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(start_web: Callable[..., Web]) -> None:
    def statuses(web: Web) -> list[int]:
        return [web.post_job({"X-Forwarded-For": f"198.51.100.{n}"}).status for n in (1, 2, 3, 1)]

    assert statuses(start_web(RATE_LIMIT_PER_MINUTE="1")) == [201, 429, 429, 429]
    assert statuses(start_web(RATE_LIMIT_PER_MINUTE="1", TRUSTED_PROXIES="127.0.0.1")) == [201, 201, 201, 429]


def test_two_headers_are_walked_as_one_and_names_with_underscores_are_none(start_web: Callable[..., Web]) -> None:
    web = start_web(RATE_LIMIT_PER_MINUTE="1", TRUSTED_PROXIES="127.0.0.1")

    def status(*headers: str) -> int:
        return _status(_connected(web), *headers)

    assert status("X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 198.51.100.1") == 200
    assert status("X-Forwarded-For: 203.0.113.2", "X-Forwarded-For: 198.51.100.1") == 429
    assert status("X_Forwarded_For: 203.0.113.3", "X-Forwarded-For: 198.51.100.1") == 429
    assert status("Forwarded: for=203.0.113.4", "X-Real-IP: 203.0.113.4", "X-Forwarded-For: 198.51.100.1") == 429


def test_a_unix_socket_is_this_machine(start_web: Callable[..., Web], tmp_path: Path) -> None:
    path, port = tmp_path / "web.sock", free_port()
    web = start_web(
        "--bind", f"127.0.0.1:{port}", "--bind", f"unix:{path}", port=port, RATE_LIMIT_PER_MINUTE="2"
    )  # fmt: skip

    def status(*headers: str) -> int:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(path))
        return _status(client, *headers)

    assert status() == 200
    assert status("X-Forwarded-For: 198.51.100.1") == 200
    assert status("X-Forwarded-For: 198.51.100.2") == 429
    assert web.request("GET", "/jobs").status == 429


def _connected(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=10)


def _status(client: socket.socket, *headers: str, path: str = "/jobs") -> int:
    """The status of `GET path` on this connection."""
    with client, client.makefile("rwb") as stream:
        stream.write("\r\n".join([f"GET {path} HTTP/1.1", "Host: h", "Connection: close", *headers, "", ""]).encode())
        stream.flush()
        return int(stream.readline().split()[1])
