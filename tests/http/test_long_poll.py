"""Requests that wait for work, at a real gunicorn: how many may, who gets nothing, and what ends a wait."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from support.pgbouncer import PgBouncer
from support.tables import put_one
from support.waiting import until
from support.web import Web
from support.work import at_once, count

from sql.connection import Connection

QUEUE = "tasks"


def body(wait_ms: int = 20_000, **fields: Any) -> dict[str, Any]:
    return {"queue": QUEUE, "limit": 1, "lease_ms": 60_000, "wait_ms": wait_ms, **fields}


def add(web: Web, **fields: Any) -> str:
    answer = web.request("POST", "/v1/jobs", {"queue": QUEUE, "payload": None, **fields})
    assert answer.status == 200, answer.data
    return str(answer.json()["job_id"])


def put(conn: Connection) -> None:
    """The same by somebody else."""
    put_one(conn, "external", queue=QUEUE)


class Waiting:
    """A request for work in a thread of its own."""

    def __init__(self, web: Web, **fields: Any) -> None:
        self.began = time.monotonic()
        self._answers: list[urllib3.BaseHTTPResponse] = []
        self._thread = threading.Thread(
            target=lambda: self._answers.append(web.request("POST", "/v1/lease", body(**fields)))
        )
        self._thread.start()

    def answer(self, seconds: float = 25) -> urllib3.BaseHTTPResponse:
        self._thread.join(seconds)
        assert self._answers, "it still waits"
        return self._answers[0]

    def jobs(self, seconds: float = 25) -> list[str]:
        answer = self.answer(seconds)
        assert answer.status == 200, answer.data
        return [job["id"] for job in answer.json()["jobs"]]

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()


@pytest.fixture
def listens(connection: Connection) -> Callable[[], bool]:
    """Whether somebody waits: the listener is there from the first wait on."""

    def look() -> bool:
        return connection.fetch_one(
            "select exists (select from pg_stat_activity"
            " where application_name = 'windlass-web-listener' and datname = current_database())"
        ) == (True,)

    return look


def test_it_waits_as_long_as_it_was_asked_to_and_the_answer_is_empty(start_web: Callable[..., Web]) -> None:
    web = start_web()
    started = time.monotonic()
    assert web.request("POST", "/v1/lease", body(700)).json() == {"jobs": []}
    assert 0.7 <= time.monotonic() - started < 2


def test_a_wait_keeps_its_one_connection_beyond_the_time_of_a_request(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    web = start_web(WEB_THREADS="2")
    sessions = (
        "select array_agg(pid order by pid) from pg_stat_activity"
        " where application_name = 'windlass-web' and datname = current_database()"
    )
    waits = Waiting(web, wait_ms=6000)
    before = until(lambda: (row := connection.fetch_one(sessions)) is not None and row[0])
    assert len(before) == 1
    assert waits.jobs(10) == []
    assert connection.fetch_one(sessions) == (before,)


def test_a_job_ends_the_wait(start_web: Callable[..., Web], listens: Callable[[], bool]) -> None:
    web = start_web()
    waits = Waiting(web)
    until(listens)
    assert not waits.is_over
    added = add(web)
    assert waits.jobs(5) == [added]


def test_half_of_the_threads_may_wait_and_the_others_are_answered_at_once(
    start_web: Callable[..., Web],
) -> None:
    web = start_web(WEB_THREADS="4")
    waiting = [Waiting(web, wait_ms=15_000) for _ in range(3)]
    # One of three is answered: the other two have the places.
    turned_away = until(lambda: next((each for each in waiting if each.is_over), None))
    assert turned_away.jobs() == []
    waiting.remove(turned_away)
    started = time.monotonic()
    for answer in at_once(*[lambda: web.request("POST", "/v1/lease", body(15_000, kinds=["none"]))] * 6):
        assert answer.json() == {"jobs": []}
    assert web.request("GET", "/health").status == 200
    assert time.monotonic() - started < 5
    assert not any(each.is_over for each in waiting)
    added = {add(web), add(web)}
    assert {job for each in waiting for job in each.jobs(5)} == added


def test_a_process_of_one_thread_lets_nobody_wait(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_THREADS="1")
    started = time.monotonic()
    assert web.request("POST", "/v1/lease", body()).json() == {"jobs": []}
    assert time.monotonic() - started < 5
    added = add(web)
    assert web.request("POST", "/v1/lease", body()).json()["jobs"][0]["id"] == added


def test_a_client_that_has_hung_up_gets_no_job(
    start_web: Callable[..., Web], connection: Connection, listens: Callable[[], bool]
) -> None:
    web = start_web()
    labels = {"method": "POST", "route": "/v1/lease", "status": "200"}
    for _ in range(3):
        answered = web.value("http_requests_total", **labels)
        ask_and_wait(web, listens).close()
        added = add(web)
        until(lambda before=answered: web.value("http_requests_total", **labels) > before)
        assert (count(connection, "running"), count(connection, "ready")) == (0, 1)
        (job,) = web.request("POST", "/v1/lease", body()).json()["jobs"]
        assert (job["id"], job["attempts"]) == (added, 1)
        assert web.request("POST", f"/v1/jobs/{added}/ack").status == 204


def test_a_client_that_hung_up_before_its_turn_gets_no_job(
    start_web: Callable[..., Web], connection: Connection, open_another: Callable[[], Connection]
) -> None:
    web = start_web(WEB_THREADS="1")
    add(web)
    blocker = open_another()
    with blocker.transaction():
        blocker.execute("lock table windlass.jobs in access exclusive mode")
        holds_the_thread = threading.Thread(target=lambda: add(web, queue="another"))
        holds_the_thread.start()
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        until(lambda: connection.fetch_one(waiting) == (1,))
        ask(web).close()
    holds_the_thread.join(10)
    until(lambda: web.value("http_requests_total", method="POST", route="/v1/lease", status="200") == 1)
    assert (count(connection, "running"), count(connection, "ready")) == (0, 2)


def test_a_wait_whose_client_has_hung_up_ends(start_web: Callable[..., Web], listens: Callable[[], bool]) -> None:
    web = start_web(WEB_THREADS="2")
    ask_and_wait(web, listens).close()
    # The one place is free again long before the time is over.
    labels = {"method": "POST", "route": "/v1/lease", "status": "200"}
    until(lambda: web.value("http_requests_total", **labels) == 1, seconds=5)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_term_ends_all_waits_at_once_with_an_empty_answer(start_web: Callable[..., Web], workers: str) -> None:
    web = start_web(WEB_CONCURRENCY=workers, WEB_THREADS="8")
    waiting = [Waiting(web) for _ in range(4)]
    labels = {"method": "POST", "route": "/v1/jobs", "status": "422"}
    # All of them wait: eight threads answer others in the meantime.
    until(lambda: web.request("POST", "/v1/jobs", {}).status == 422 and web.value("http_requests_total", **labels) > 20)
    assert not any(each.is_over for each in waiting)
    started = time.monotonic()
    web.process.send_signal(signal.SIGTERM)
    assert [each.jobs(5) for each in waiting] == [[]] * 4
    assert time.monotonic() - started < 3
    assert web.process.wait(10) == 0
    assert time.monotonic() - started < 8


def test_a_job_that_comes_with_term_is_handed_to_nobody_or_answered(
    start_web: Callable[..., Web], connection: Connection, listens: Callable[[], bool]
) -> None:
    web = start_web()
    waits = Waiting(web)
    until(listens)
    at_once(lambda: put(connection), lambda: web.process.send_signal(signal.SIGTERM))
    taken = waits.jobs(5)
    assert web.process.wait(10) == 0
    assert count(connection, "running") == len(taken)


def test_a_paused_queue_ends_no_wait(
    start_web: Callable[..., Web], connection: Connection, listens: Callable[[], bool]
) -> None:
    web = start_web()
    assert web.request("POST", f"/v1/admin/queues/{QUEUE}/pause").status == 204
    waits = Waiting(web)
    until(listens)
    added = add(web)
    other = web.request("POST", "/v1/lease", body(600)).json()
    assert other == {"jobs": []}
    assert not waits.is_over
    assert web.request("POST", f"/v1/admin/queues/{QUEUE}/resume").status == 204
    assert waits.jobs(5) == [added]
    assert count(connection, "running") == 1


@pytest.mark.needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_behind_a_pooler_a_job_still_ends_the_wait(start_web: Callable[..., Web], database_url: str, mode: str) -> None:
    with PgBouncer(database_url, mode) as bouncer:
        through, direct = start_web(DATABASE_URL=bouncer.url), start_web()
        for _ in range(3):
            waits = Waiting(through)
            until(lambda waits=waits: time.monotonic() - waits.began > 0.3)
            added, since = add(direct), time.monotonic()
            assert waits.jobs(5) == [added]
            assert time.monotonic() - since < 2
        through.end()


def ask(web: Web) -> socket.socket:
    """Asks for work on a connection of its own."""
    client = socket.create_connection(("127.0.0.1", web.port))
    text = json.dumps(body())
    head = f"POST /v1/lease HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(text)}"
    client.sendall(f"{head}\r\n\r\n{text}".encode())
    return client


def ask_and_wait(web: Web, listens: Callable[[], bool]) -> socket.socket:
    """The same, once the request waits."""
    client = ask(web)
    until(listens)
    # Nothing is answered to it within two of its own looks.
    client.settimeout(1.1)
    with pytest.raises(TimeoutError):
        client.recv(1)
    return client
