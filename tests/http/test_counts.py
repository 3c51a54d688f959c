"""How many jobs wait and run, when they are too many to be counted for everybody who asks."""

import threading
from collections.abc import Callable

import flask
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from support.http import check_error
from support.waiting import until
from support.work import add_many, claim, lease_of

from app import context, counts
from app.counts import Counts
from app.services import admin
from sql import jobs, leases
from sql.connection import Connection
from sql.errors import Unavailable

Gauges = dict[tuple[str, str | None], float]


def allow_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr(admin, "_MOST_AT_ONCE", 3)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than three jobs are many."""
    allow_few(monkeypatch)


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than three jobs are many, and counted once."""
    allow_few(monkeypatch)
    monkeypatch.setattr(counts, "_DEAR_SECONDS", 60.0)
    monkeypatch.setattr(counts, "_REST", 1_000_000)


@pytest.fixture
def without_counter(monkeypatch: pytest.MonkeyPatch, make_app: Callable[..., flask.Flask]) -> FlaskClient:
    """A client of an application to which three jobs are many, and whose count of them never comes."""
    allow_few(monkeypatch)
    monkeypatch.setattr(counts, "_FIRST_COUNT_SECONDS", 0.3)
    app = make_app()
    with app.app_context():
        monkeypatch.setattr(context.current().counts, "_connect", unreachable)
    return app.test_client()


def unreachable() -> Connection:
    raise Unavailable("not in this test")


def counters() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "counts"}


def gauges(client: FlaskClient) -> Gauges:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, s.labels.get("queue")): s.value for family in families for s in family.samples}


def test_few_jobs_are_counted_for_whoever_asks_and_by_nobody_else(client: FlaskClient, connection: Connection) -> None:
    before = counters()
    for jobs_there in (3, 6):
        add_many(connection, 3)
        seen = gauges(client)
        assert seen["queue_depth", "default"] == jobs_there
        assert seen["queue_depth_age_seconds", None] == 0
        for path in ("/v1/admin/queues", "/v1/admin/queues/default/depth"):
            assert "Age" not in client.get(path).headers
    assert counters() <= before


@pytest.mark.usefixtures("seldom")
def test_of_many_jobs_the_last_count_is_told_with_its_age(client: FlaskClient, connection: Connection) -> None:
    add_many(connection, 4)
    add_many(connection, 1, queue="small")
    first = gauges(client)
    assert first["queue_depth", "default"] == 4
    add_many(connection, 2)
    add_many(connection, 1, queue="small")
    later = gauges(client)
    assert (later["queue_depth", "default"], later["database_up", None]) == (4, 1)
    assert later["queue_depth_age_seconds", None] > first["queue_depth_age_seconds", None] > 0
    listed = client.get("/v1/admin/queues")
    assert [queue["depth"] for queue in listed.get_json()["queues"]] == [4, 1]
    depth = client.get("/v1/admin/queues/default/depth")
    assert depth.get_json()["depth"] == 4
    assert all(int(response.headers["Age"]) >= 1 for response in (listed, depth))


@pytest.mark.usefixtures("seldom")
def test_a_queue_with_few_jobs_is_counted_to_the_moment(client: FlaskClient, connection: Connection) -> None:
    add_many(connection, 4)
    add_many(connection, 1, queue="small")
    client.get("/metrics")
    add_many(connection, 1, queue="small")
    depth = client.get("/v1/admin/queues/small/depth")
    assert depth.get_json() == {"queue": "small", "depth": 2}
    assert "Age" not in depth.headers


@pytest.mark.usefixtures("seldom")
def test_a_pause_is_seen_at_once(client: FlaskClient, connection: Connection) -> None:
    add_many(connection, 4)
    client.get("/metrics")
    client.post("/v1/admin/queues/default/pause")
    client.post("/v1/admin/queues/idle/pause")
    default, idle = client.get("/v1/admin/queues").get_json()["queues"]
    assert default["paused_at"] is not None
    assert default["depth"] == 4
    assert idle["queue"] == "idle"


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("state", ["waiting", "running"])
def test_many_jobs_are_counted_again_and_again_and_for_whoever_asks_once_they_are_few(
    client: FlaskClient, connection: Connection, state: str
) -> None:
    before = counters()
    made = add_many(connection, 5)
    held = [lease_of(job) for job in claim(connection, limit=5)] if state == "running" else []
    assert gauges(client)["queue_depth", "default"] == 5
    add_many(connection, 2, queue="more")
    until(lambda: gauges(client).get(("queue_depth", "more")) == 2)
    leases.ack(connection, None, [(lease, None) for lease in held])
    for job_id in made if not held else []:
        jobs.cancel(connection, job_id)
    until(lambda: gauges(client)["queue_depth_age_seconds", None] == 0)
    until(lambda: counters() <= before)
    assert ("queue_depth", "default") not in gauges(client)


@pytest.mark.usefixtures("few")
def test_nobody_counts_when_nobody_has_asked_for_long(
    client: FlaskClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "_WANTED_SECONDS", 0.0)
    add_many(connection, 4)
    for jobs_there in (4, 6):
        # Whoever asks after a while gets a new count, not the one of then.
        assert gauges(client)["queue_depth", "default"] == jobs_there
        until(lambda: not counters())
        add_many(connection, 2)


def test_a_count_that_does_not_come_holds_nobody_up(without_counter: FlaskClient, connection: Connection) -> None:
    add_many(connection, 4)
    seen = gauges(without_counter)
    assert seen["database_up", None] == 1
    assert ("queue_depth", "default") not in seen
    for path in ("/v1/admin/queues", "/v1/admin/queues/default/depth"):
        check_error(without_counter.get(path), "unavailable")


@pytest.mark.usefixtures("seldom")
def test_a_count_from_before_an_outage_is_not_told_during_it(
    connection: Connection, open_another: Callable[[], Connection]
) -> None:
    add_many(connection, 4)
    kept = Counts(open_another, processes=1)
    lost = open_another()
    assert kept.read(lost) is not None
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and "
        "datname = current_database()"
    )
    with pytest.raises(Unavailable):
        kept.read(lost)
    kept.end()


def test_no_count_is_begun_once_the_process_is_to_stop(without_counter: FlaskClient, connection: Connection) -> None:
    add_many(connection, 4)
    with without_counter.application.app_context():
        context.current().counts.end()
    before = counters()
    assert gauges(without_counter)["database_up", None] == 1
    assert counters() <= before
