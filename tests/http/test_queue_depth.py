"""MAX_QUEUE_DEPTH: a full queue takes no more over HTTP, others do, and most enqueues are not counted for."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest
from flask.testing import FlaskClient
from support.figures import Publish
from support.http import EXTERNAL, check_error, created, post
from support.waiting import until
from support.web import Web
from support.work import add, add_many, claim, count, lease_of

import sql.queues
from sql import leases
from sql.connection import Connection

LIMIT = 10
_HELD_UP = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.fixture
def bounded(make_app: Callable[..., flask.Flask]) -> FlaskClient:
    """A client of a service with one process, whose queues hold ten."""
    return make_app(max_queue_depth=LIMIT, web_concurrency=1).test_client()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of every count that is over its queue."""
    queues: list[str] = []
    waiting = sql.queues.waiting

    def noted(conn: Connection, queue: str, at_most: int) -> int:
        seen = waiting(conn, queue, at_most)
        queues.append(queue)
        return seen

    monkeypatch.setattr(sql.queues, "waiting", noted)
    return queues


def test_a_full_queue_takes_no_more_by_either_route_and_another_does(
    bounded: FlaskClient, connection: Connection
) -> None:
    for _ in range(LIMIT):
        created(bounded)
    for response in (post(bounded), bounded.post("/v1/jobs", json={"queue": "default", "payload": 1})):
        assert "queue default is full: 10 jobs wait in it" in check_error(response, "unavailable")["message"]
        assert int(response.headers["Retry-After"]) >= 1
    created(bounded, queue="other")
    assert count(connection, "jobs") == LIMIT + 1


def test_of_a_bulk_the_first_find_room(bounded: FlaskClient, connection: Connection) -> None:
    items = [{**EXTERNAL, "queue": queue} for queue in ["a", "b"] * 15]
    results = bounded.post("/jobs/bulk", json={"jobs": items}).get_json()["results"]
    assert [result["status"] for result in results] == [201] * 2 * LIMIT + [503] * LIMIT
    assert {result["error"] for result in results[2 * LIMIT :]} == {"unavailable"}
    assert count(connection, "ready") == 2 * LIMIT


def test_what_is_refused_for_another_reason_takes_no_room(bounded: FlaskClient) -> None:
    for _ in range(2 * LIMIT):
        check_error(post(bounded, kind="unheard-of"), "validation")
    for _ in range(LIMIT):
        created(bounded)


def test_scheduled_and_retried_jobs_and_those_of_other_ways_are_counted(
    bounded: FlaskClient, connection: Connection
) -> None:
    add_many(connection, 5, run_at="2030-01-01T00:00:00Z")
    add_many(connection, 5)
    leases.fail(connection, None, [leases.Failure(lease_of(claim(connection)[0]), "no", delay=3600)])
    check_error(post(bounded), "unavailable")


def test_there_is_room_again_as_soon_as_jobs_leave(bounded: FlaskClient, connection: Connection) -> None:
    add_many(connection, LIMIT)
    check_error(post(bounded), "unavailable")
    claim(connection, limit=3)
    until(lambda: post(bounded).status_code == 201, message="room again")
    answers = Counter(post(bounded).status_code for _ in range(5))
    assert answers[201] <= 2
    until(lambda: post(bounded).status_code == 503 and count(connection, "ready") == LIMIT, message="full again")


def test_an_enqueue_costs_no_count(
    make_app: Callable[..., flask.Flask], counted: list[str], connection: Connection
) -> None:
    client = make_app(max_queue_depth=100_000).test_client()
    began = time.monotonic()
    for _ in range(200):
        created(client)
    seconds = time.monotonic() - began
    assert 1 <= len(counted) <= 2 + seconds
    assert count(connection, "ready") == 200


def test_without_the_setting_nothing_is_counted(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sql.queues, "waiting")
    created(client)


def test_what_an_enqueue_that_is_held_up_may_still_store_is_nobody_elses_room(
    make_app: Callable[..., flask.Flask],
    counted: list[str],
    connection: Connection,
    open_another: Callable[[], Connection],
) -> None:
    app = make_app(max_queue_depth=LIMIT, web_concurrency=1)
    items = [EXTERNAL] * (LIMIT - 1) + [{**EXTERNAL, "idempotency_key": "k"}]
    blocker = open_another()
    with ThreadPoolExecutor(1) as another:
        with blocker.transaction():
            add(blocker, queue="other", idempotency_key="k", request_hash="another's")
            held_up = another.submit(lambda: app.test_client().post("/jobs/bulk", json={"jobs": items}).get_json())
            until(lambda: connection.fetch_one(_HELD_UP) == (1,))
            answers = Counter[int]()
            before = len(counted)
            until(lambda: answers.update([post(app.test_client()).status_code]) or len(counted) >= before + 2)
            assert not held_up.done()
            assert set(answers) == {503}
        results = [result["status"] for result in held_up.result()["results"]]
    assert results == [201] * (LIMIT - 1) + [409]
    # And what it did not store is room again.
    created(app.test_client())
    check_error(post(app.test_client()), "unavailable")
    assert count(connection, "ready") == LIMIT + 1


def test_a_key_used_again_takes_no_room(
    make_app: Callable[..., flask.Flask], counted: list[str], connection: Connection
) -> None:
    client = make_app(max_queue_depth=LIMIT, web_concurrency=1).test_client()
    leasable = {"queue": "default", "payload": 1, "idempotency_key": "v1"}
    began = time.monotonic()
    for _ in range(LIMIT - 3):
        assert post(client, idempotency_key="k").status_code in (200, 201)
        assert client.post("/v1/jobs", json=leasable).status_code == 200
        bulk = client.post("/jobs/bulk", json={"jobs": [{**EXTERNAL, "idempotency_key": "bulk"}] * 3}).get_json()
        assert {result["status"] for result in bulk["results"]} <= {200, 201}
    assert len(counted) <= 1 + (time.monotonic() - began)
    for _ in range(LIMIT - 3):
        created(client)
    assert count(connection, "ready") == LIMIT


def test_a_limit_of_less_than_there_are_processes_lets_jobs_in(
    make_app: Callable[..., flask.Flask], connection: Connection
) -> None:
    client = make_app(max_queue_depth=1, web_concurrency=2).test_client()
    created(client)
    check_error(post(client), "unavailable")
    claim(connection, kinds=["external"])
    until(lambda: post(client).status_code == 201, message="room again")


def test_over_processes_the_limit_is_passed_by_little(
    start_web: Callable[..., Web], connection: Connection, publish: Publish
) -> None:
    limit, processes = 200, 2
    web = start_web(MAX_QUEUE_DEPTH=str(limit), WEB_CONCURRENCY=str(processes))
    answers: Counter[int] = Counter()

    def ask(_: int = 0) -> int:
        return web.post_job(headers={"Connection": "close"}).status

    with ThreadPoolExecutor(16) as clients:
        answers.update(clients.map(ask, range(600)))

    def is_full() -> bool:
        answers[ask()] += 1
        return count(connection, "ready") >= limit

    # Each process may have refused for want of a new count, with room left.
    until(is_full, message="the limit is reached")
    waiting = count(connection, "ready")
    publish(f"depth of a queue: limit {limit}, {processes} processes, 600 enqueues by 16 clients: {waiting} stored")
    assert set(answers) == {201, 503}
    assert answers[201] == waiting
    assert limit <= waiting < limit * (2 - 1 / processes) + processes
