"""Tokens of the table at a real gunicorn: revocation and rotation over its processes, floods, and an outage."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from support.database import open_connection
from support.figures import Publish
from support.processes import stopped
from support.tables import put_one
from support.token_holders import bearer, made, mistyped, revoke
from support.waiting import until
from support.web import Web, running_web
from support.work import at_once, count

from app.token_table import UNKNOWN_PER_MINUTE
from app.tokens import new_token
from sql.connection import Connection
from sql.embedded import EmbeddedServer

# Within these nobody is let in any more, whichever process answers.
EFFECTIVE_SECONDS = 5.0
_SESSIONS = "select count(*) from pg_stat_activity where datname = current_database()"
# A kept connection would ask the same worker again.
ANEW = {"Connection": "close"}
ADMIN = {"ADMIN_TOKEN": "the-admins-token"}


def status(web: Web, token: str, path: str = "/jobs") -> int:
    return web.request("GET", path, headers={**ANEW, **bearer(token)}).status


def of_each_worker(web: Web, token: str) -> list[int]:
    """What each worker answers, the others being stopped."""
    statuses = []
    workers = web.workers()
    for worker in workers:
        with stopped(set(workers) - {worker}):
            statuses.append(status(web, token))
    return statuses


def test_a_revoked_token_lets_nobody_in_after_5_seconds_in_any_process(
    start_web: Callable[..., Web], connection: Connection, publish: Publish
) -> None:
    web = start_web(WEB_CONCURRENCY="3", WEB_THREADS="4", REQUIRE_TOKEN="1")
    token = made(connection, "read")
    assert of_each_worker(web, token) == [200] * 3
    revoke(connection, token)
    revoked = time.monotonic()
    latest = revoked

    def refused_by_all() -> bool:
        nonlocal latest
        began = time.monotonic()
        statuses = set(at_once(*[lambda: status(web, token)] * 8))
        assert statuses <= {200, 401}
        if 200 in statuses:
            latest = began
        return statuses == {401}

    # The bound is on when the last one let in had asked; the machine may be slow to answer.
    until(refused_by_all, 30, "nobody is let in any more")
    assert of_each_worker(web, token) == [401] * 3
    publish(f"a token revoked: the last who was let in had asked {latest - revoked:.1f} s later")
    assert latest - revoked < EFFECTIVE_SECONDS


def test_who_waits_for_work_loses_the_right_to_it_like_everybody_else(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    web = start_web(REQUIRE_TOKEN="1")
    token = made(connection, "work")
    body = {"queue": "q", "limit": 1, "lease_ms": 60_000, "wait_ms": 20_000}
    answers: list[tuple[int, float]] = []

    def wait_for_work() -> None:
        answer = web.request("POST", "/v1/lease", body, bearer(token))
        answers.append((answer.status, time.monotonic()))

    waiting = threading.Thread(target=wait_for_work)
    waiting.start()
    listening = _SESSIONS + " and application_name = 'windlass-web-listener'"
    until(lambda: connection.fetch_one(listening) == (1,), message="it waits")
    revoke(connection, token)
    revoked = time.monotonic()
    until(lambda: time.monotonic() > revoked + EFFECTIVE_SECONDS, EFFECTIVE_SECONDS + 1)
    put_one(connection, "external", queue="q")
    waiting.join(30)
    assert answers, "it still waits"
    answer, ended = answers[0]
    assert answer == 401
    # It looks again after 2 s and a half at the latest, and before its 20 s are over.
    assert ended - revoked < EFFECTIVE_SECONDS + 2.5
    assert count(connection, "ready") == 1


def test_a_rotation_under_load_fails_no_request(
    start_web: Callable[..., Web], connection: Connection, publish: Publish
) -> None:
    web = start_web(WEB_CONCURRENCY="2", WEB_THREADS="4", REQUIRE_TOKEN="1")
    old = made(connection, "enqueue", "read", name="shop")
    clients = 4
    current = [old] * clients
    statuses: list[list[tuple[str, int]]] = [[] for _ in range(clients)]
    over = threading.Event()

    def client(number: int) -> None:
        while not over.is_set():
            token = current[number]
            answer = web.post_job(bearer(token)) if len(statuses[number]) % 2 else web.request(
                "GET", "/jobs?limit=1", headers=bearer(token))  # fmt: skip
            statuses[number].append((token, answer.status))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(len(seen) > 20 for seen in statuses), 20)
        # Two live ones of the same name: each client goes over in its own time.
        new = made(connection, "enqueue", "read", name="shop")
        for number in range(clients):
            current[number] = new
            until(lambda n=number: statuses[n][-1][0] == new, 20)
        revoke(connection, old)
        until(lambda: status(web, old) == 401, 30)
        after = [len(seen) for seen in statuses]
        until(lambda: all(len(seen) > n + 20 for seen, n in zip(statuses, after, strict=True)), 20)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    failed = [(token == old, answer) for seen in statuses for token, answer in seen if answer not in (200, 201)]
    publish(f"a token replaced under load: {sum(map(len, statuses))} requests, {len(failed)} failed")
    assert failed == []


def test_a_flood_of_unknown_tokens_asks_the_database_a_bounded_number_of_times_over_all_processes(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    processes, threads = 2, 4
    web = start_web(WEB_CONCURRENCY=str(processes), WEB_THREADS=str(threads), REQUIRE_TOKEN="1")
    scans = "select seq_scan + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'tokens'"
    before = connection.fetch_one(scans)
    assert before is not None
    answers = at_once(*[lambda: [status(web, new_token()) for _ in range(25)] for _ in range(16)])
    statuses = [answer for each in answers for answer in each]
    assert set(statuses) == {401, 429}
    assert web.terminate() == 0
    # A session tells what it did at the latest when it ends.
    sessions = _SESSIONS + " and application_name like 'windlass-web%'"
    until(lambda: connection.fetch_one(sessions) == (0,))
    asked = until(lambda: (row := connection.fetch_one(scans)) is not None and row[0] - before[0])
    assert UNKNOWN_PER_MINUTE <= asked == statuses.count(401) < UNKNOWN_PER_MINUTE + processes * threads


def test_the_time_for_knowing_a_token_is_part_of_the_requests_own(
    start_web: Callable[..., Web], connection: Connection, open_another: Callable[[], Connection]
) -> None:
    web = start_web(REQUIRE_TOKEN="1", WEB_THREADS="1")
    assert status(web, made(connection, "read")) == 200
    token = made(connection, "read")
    answers: list[tuple[int, float]] = []

    def ask() -> None:
        began = time.monotonic()
        answers.append((status(web, token), time.monotonic() - began))

    waits = (
        f"{_SESSIONS} and application_name = 'windlass-web' and wait_event_type = 'Lock'"
        " and clock_timestamp() - query_start > %(seconds)s * interval '1 second'"
    )
    watcher, holder = open_another(), open_another()
    asking = threading.Thread(target=ask)
    with holder.transaction():
        holder.execute("lock table windlass.jobs")
        with connection.transaction():
            connection.execute("lock table windlass.tokens")
            asking.start()
            until(lambda: watcher.fetch_one(waits, seconds=2.5) == (1,), message="it waits to know the token")
        until(lambda: watcher.fetch_one(waits, seconds=0.1) == (1,), message="it waits for what it asks for")
        asking.join(10)
    ((answer, seconds),) = answers
    assert answer == 503
    assert seconds < 5


def test_in_an_outage_nobody_is_called_unknown_and_nobody_let_in_for_longer_than_5_seconds(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    connection = open_connection(own_server.url)
    token, fresh = made(connection, "read"), made(connection, "read")
    connection.close()
    # What needs no database once it is known who asks: under `/jobs` a path that is none.
    no_route = "/jobs/nope"
    with running_web(tmp_path, own_server.url, REQUIRE_TOKEN="1", **ADMIN) as web:
        assert (status(web, token), status(web, token, no_route)) == (200, 404)
        own_server.stop()
        stopped = time.monotonic()
        let_in = [stopped]

        def unavailable() -> bool:
            began = time.monotonic()
            answer = status(web, token, no_route)
            assert answer in (404, 503)
            if answer == 404:
                let_in.append(began)
            return answer == 503

        until(unavailable, 30, "what is known is over")
        assert let_in[-1] - stopped < EFFECTIVE_SECONDS
        for unsure in (token, fresh, new_token()):
            answer = web.request("GET", no_route, headers=bearer(unsure))
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
        # These take no database.
        assert status(web, ADMIN["ADMIN_TOKEN"], no_route) == 404
        assert status(web, mistyped(token), no_route) == 401
        assert web.request("GET", no_route).status == 401
        own_server.start()
        until(lambda: status(web, token) == 200, 5)
        assert status(web, fresh) == 200
        assert status(web, new_token()) == 401
