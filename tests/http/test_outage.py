"""The database goes away and comes back: 503 with Retry-After meanwhile, and no restart."""

import socket
import threading
import time
from pathlib import Path

import pytest
import urllib3
from support.database import Databases
from support.waiting import until
from support.web import Web, running_web
from support.work import at_once

from sql.embedded import EmbeddedServer
from sql.migrate import migrate

LONGEST = 5.0
ASKING = (("POST", "/jobs"), ("POST", "/jobs/bulk"), ("GET", "/jobs"), ("GET", "/health"))
BODIES = {
    "/jobs": {"kind": "external", "payload": None},
    "/jobs/bulk": {"jobs": [{"kind": "external", "payload": None}]},
}


def ask(web: Web, method: str, path: str) -> urllib3.BaseHTTPResponse:
    return web.request(method, path, BODIES[path] if method == "POST" else None)


def check_unavailable(response: urllib3.BaseHTTPResponse) -> None:
    assert (response.status, response.json()["error"]) == (503, "unavailable"), response.data
    assert int(response.headers["Retry-After"]) >= 1


class Hole:
    """A server that lets everybody connect and never says a word; or passes all on to `target` until it is `closed`."""

    def __init__(self, target: str | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._target = target
        self.swallows = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            if self._target is None or self.swallows.is_set():
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open.append(server)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.swallows.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        for each in (self._listener, *self._open):
            each.close()


def test_a_stopped_database_is_unavailable_and_comes_back_without_a_restart(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    with running_web(tmp_path, own_server.url, WEB_CONCURRENCY="2", WEB_THREADS="4") as web:
        workers = web.workers()
        # Every thread gets a connection that will die.
        assert {answer.status for answer in at_once(*[lambda: web.post_job()] * 16)} == {201}
        for _ in range(2):
            own_server.stop()
            for method, path in ASKING:
                for answer in at_once(*[lambda m=method, p=path: ask(web, m, p)] * 12):
                    check_unavailable(answer)
            assert web.request("GET", "/healthz").status == 200
            assert web.value("database_up") == 0
            assert web.value("jobs_enqueued_total", queue="default", kind="external") == 16
            own_server.start()
            until(lambda: web.request("GET", "/health").status == 200, seconds=5)
            answers = [ask(web, "GET", "/jobs").status for _ in range(20)]
            assert answers == [200] * 20
        assert web.workers() == workers
        assert web.post_job(idempotency_key="k").status == 201
        assert web.value("database_up") == 1


def test_a_request_that_waits_for_work_is_told_of_the_outage_and_the_next_waits_again(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    body = {"queue": "q", "limit": 1, "lease_ms": 1000, "wait_ms": 20_000}
    with running_web(tmp_path, own_server.url) as web:
        for _ in range(2):
            answers: list[urllib3.BaseHTTPResponse] = []
            wait = threading.Thread(target=lambda into=answers: into.append(web.request("POST", "/v1/lease", body)))
            wait.start()
            until(lambda: web.request("POST", "/v1/lease", {**body, "wait_ms": 600}).status == 200)
            assert not answers
            own_server.stop()
            wait.join(LONGEST)
            check_unavailable(answers[0])
            own_server.start()
            until(lambda: web.request("GET", "/health").status == 200, seconds=5)
        (added,) = web.request("POST", "/jobs/bulk", {"jobs": [{**BODIES["/jobs"], "queue": "q"}]}).json()["results"]
        assert web.request("POST", "/v1/lease", body).json()["jobs"][0]["id"] == added["job"]["id"]


def test_a_service_started_without_its_database_waits_for_it(own_server: EmbeddedServer, tmp_path: Path) -> None:
    own_server.stop()
    with running_web(tmp_path, own_server.url) as web:
        check_unavailable(web.post_job())
        own_server.start()
        until(lambda: web.post_job().status == 201, seconds=5)


def test_a_database_without_tables_is_unavailable_until_it_is_migrated(empty_database_url: str, tmp_path: Path) -> None:
    with running_web(tmp_path, empty_database_url) as web:
        check_unavailable(web.post_job())
        check_unavailable(web.request("GET", "/health"))
        assert "windlass migrate" in web.log()
        migrate(empty_database_url, log=lambda _: None)
        assert web.post_job().status == 201


@pytest.mark.parametrize("path", ["/jobs", "/health", "/metrics"])
def test_a_database_that_never_answers_holds_nobody_for_5_seconds(tmp_path: Path, path: str) -> None:
    hole = Hole()
    url = f"postgresql://u:p@127.0.0.1:{hole.port}/d"
    with running_web(tmp_path, url, WEB_CONCURRENCY="1", WEB_THREADS="4") as web:

        def timed() -> float:
            started = time.monotonic()
            answer = web.request("GET", path)
            assert answer.status == (200 if path == "/metrics" else 503)
            return time.monotonic() - started

        # More clients than threads: nobody waits behind the others either.
        assert max(at_once(*[timed] * 16)) < LONGEST
    hole.close()


def test_a_database_that_freezes_under_a_statement_holds_nobody_for_5_seconds(server_url: str, tmp_path: Path) -> None:
    target = _socket_of(server_url)
    if target is None:
        pytest.fail("this test needs the embedded server, which listens on a socket")
    hole = Hole(target)
    databases = Databases(server_url)
    with databases.migrated() as url:
        through = url.split("?")[0].replace("@/", f"@127.0.0.1:{hole.port}/") + "?sslmode=disable"
        with running_web(tmp_path, through, WEB_CONCURRENCY="1", WEB_THREADS="4") as web:
            assert {answer.status for answer in at_once(*[lambda: web.post_job()] * 8)} == {201}
            hole.swallows.set()

            def timed() -> float:
                started = time.monotonic()
                check_unavailable(ask(web, "GET", "/jobs"))
                return time.monotonic() - started

            assert max(at_once(*[timed] * 4)) < LONGEST
            hole.swallows.clear()
            until(lambda: web.request("GET", "/health").status == 200, seconds=10)
    hole.close()
    databases.close()


def _socket_of(url: str) -> str | None:
    _, _, query = url.partition("?host=")
    return f"{query.split('&')[0]}/.s.PGSQL.5432" if query else None
