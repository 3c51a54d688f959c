"""Pools are told that work came: after the commit, not too often, and without harm when nobody hears."""

import threading
import time
from collections.abc import Callable, Iterator

import flask
import pytest
from flask.testing import FlaskClient
from support.http import EXTERNAL, created, post
from support.waiting import until
from support.work import claim_one, count

from app.database import Database
from app.hints import HintSender
from sql import hints, leases
from sql.connection import Connection
from sql.errors import Unavailable
from sql.leases import Failure


@pytest.fixture
def heard(connection: Connection) -> Callable[[], list[int]]:
    """All counts heard so far."""
    hints.listen(connection)
    received: list[int] = []

    def hear() -> list[int]:
        received.extend(map(int, connection.notifications()))
        return received

    return hear


@pytest.fixture
def sender(database_url: str) -> Iterator[HintSender]:
    sender = HintSender(lambda: Database(database_url).open("hints"))
    yield sender
    sender.stop()


def test_every_new_job_is_hinted_at_once_it_is_there(
    client: FlaskClient, heard: Callable[[], list[int]], open_another: Callable[[], Connection]
) -> None:
    created(client)
    until(lambda: sum(heard()) == 1)
    assert count(open_another(), "ready") == 1
    client.post("/jobs/bulk", json={"jobs": [EXTERNAL] * 7})
    until(lambda: sum(heard()) == 8)


def test_a_job_found_by_its_key_and_a_refused_one_are_not_hinted(
    client: FlaskClient, heard: Callable[[], list[int]]
) -> None:
    for _ in range(3):
        post(client, idempotency_key="k")
    post(client, idempotency_key="k", priority=1)
    post(client, kind="nope")
    client.post("/jobs/bulk", json={"jobs": [{}, {**EXTERNAL, "idempotency_key": "k"}]})
    created(client, idempotency_key="last")
    until(lambda: len(heard()) >= 2 or sum(heard()) >= 2)
    assert sum(heard()) == 2


def test_a_retried_job_is_hinted(
    client: FlaskClient, heard: Callable[[], list[int]], open_another: Callable[[], Connection]
) -> None:
    another = open_another()
    job = created(client)["id"]
    leases.fail(another, None, [Failure(claim_one(another, kinds=["external"]), "no", permanent=True)])
    client.post(f"/jobs/{job}/retry")
    until(lambda: sum(heard()) == 2)


def test_many_hints_become_few_and_their_sum_is_whole(sender: HintSender, heard: Callable[[], list[int]]) -> None:
    sender.send(1)
    until(lambda: sum(heard()) == 1)
    started, sent, pause = time.monotonic(), 0, threading.Event()
    while time.monotonic() < started + 0.5:
        sender.send(3)
        sent += 3
        # Lets the sender's thread run in between.
        pause.wait(0.0002)
    until(lambda: sum(heard()) == 1 + sent)
    elapsed = time.monotonic() - started
    assert 2 <= len(heard()) <= 2 + elapsed / 0.005


def test_what_is_pending_is_sent_before_it_stops(database_url: str, heard: Callable[[], list[int]]) -> None:
    asked, may_connect = threading.Event(), threading.Event()

    def connect() -> Connection:
        asked.set()
        assert may_connect.wait(10)
        return Database(database_url).open("hints")

    sender = HintSender(connect)
    sender.send(1)
    assert asked.wait(10)
    sender.send(49)
    stopping = threading.Thread(target=sender.stop)
    stopping.start()
    may_connect.set()
    stopping.join(10)
    until(lambda: sum(heard()) == 50)


def test_no_hint_is_as_good_as_none(sender: HintSender, heard: Callable[[], list[int]]) -> None:
    for nothing in (0, -1):
        sender.send(nothing)
    sender.send(2)
    until(lambda: heard() == [2])


def test_a_database_that_is_away_costs_the_sender_nothing() -> None:
    tried: list[float] = []

    def connect() -> Connection:
        tried.append(time.monotonic())
        raise Unavailable("away")

    sender = HintSender(connect)
    started = time.monotonic()
    for _ in range(1000):
        sender.send(1)
    assert time.monotonic() - started < 0.5
    until(lambda: tried)
    sender.stop()
    assert len(tried) <= 3


def test_hints_go_on_after_their_session_was_ended(
    make_app: Callable[..., flask.Flask], heard: Callable[[], list[int]], open_another: Callable[[], Connection]
) -> None:
    client = make_app().test_client()
    another = open_another()
    created(client)
    until(lambda: sum(heard()) == 1)
    another.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'windlass-web-hints' and datname = current_database()"
    )
    until(lambda: post(client).status_code == 201 and sum(heard()) >= 2, seconds=10)
