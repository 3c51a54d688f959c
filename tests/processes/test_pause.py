"""A paused queue hands out nothing, to a pool or over a lease, whatever restarts; resumed it goes on at once."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import ended, look, put, put_one
from support.waiting import until
from support.web import Web, running_web

from sql.connection import Connection

HELD = "held:back"


@pytest.fixture
def web(tmp_path: Path, database_url: str) -> Iterator[Web]:
    with running_web(tmp_path, database_url) as web:
        yield web


def tell(web: Web, verb: str) -> None:
    assert web.request("POST", f"/v1/admin/queues/{HELD}/{verb}").status == 204


def lease(web: Web, **asked: Any) -> list[str]:
    answer = web.request("POST", "/v1/lease", {"queue": HELD, "limit": 10, "lease_ms": 60_000, **asked})
    assert answer.status == 200, answer.data
    return [job["id"] for job in answer.json()["jobs"]]


def test_a_pause_outlives_the_restart_of_pool_and_web_and_resume_ends_it(
    start_pool: StartPool, tmp_path: Path, database_url: str, connection: Connection
) -> None:
    settings = {"worker_queues": f"{HELD},default", "poll_interval_ms": 50}
    with running_web(tmp_path, database_url) as web:
        tell(web, "pause")
        pool = start_pool(**settings).ready()
        job_id, external = put_one(connection, "note", queue=HELD), put_one(connection, "external", queue=HELD)
        for _ in range(3):
            ended(connection, put_one(connection, "note"))
        assert lease(web) == []
        assert pool.stop() == 0
    with running_web(tmp_path, database_url) as web:
        start_pool(**settings).ready()
        for _ in range(3):
            ended(connection, put_one(connection, "note"))
        assert lease(web) == []
        assert look(connection, job_id).status == look(connection, external).status == "queued"
        tell(web, "resume")
        assert ended(connection, job_id).status == "succeeded"
        assert lease(web) == [external]


def test_what_runs_when_its_queue_is_paused_comes_to_its_end(
    start_pool: StartPool, web: Web, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_queues=HELD).ready()
    running = put_one(connection, "gate", queue=HELD)
    effects.wait_for("began", running)
    tell(web, "pause")
    waiting = put_one(connection, "note", queue=HELD)
    effects.open_gate(running)
    assert ended(connection, running).status == "succeeded"
    assert look(connection, waiting).status == "queued"


def test_resume_wakes_an_idle_pool_long_before_it_polls(
    start_pool: StartPool, web: Web, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_queues=HELD, poll_interval_ms=60_000).ready()
    for _ in range(5):
        tell(web, "pause")
        first, *_, last = put(connection, "note", *[{}] * 20, queue=HELD)
        resumed_at = time.monotonic()
        tell(web, "resume")
        assert effects.wait_for("ran", first).at - resumed_at < 1
        ended(connection, last)


def test_redrive_and_requeue_wake_an_idle_pool_long_before_it_polls(
    start_pool: StartPool, web: Web, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_queues=HELD, poll_interval_ms=60_000).ready()
    job_id = put_one(connection, "gate", {"waits": False, "fails": True}, queue=HELD, max_attempts=1)
    for attempt, path in enumerate((f"jobs/{job_id}/requeue", f"queues/{HELD}/redrive"), start=1):
        assert ended(connection, job_id).status == "failed_permanent"
        asked_at = time.monotonic()
        assert web.request("POST", f"/v1/admin/{path}").status in (200, 204)
        until(lambda attempt=attempt: len(effects.all("ended", [job_id])) == attempt + 1, 1)
        assert time.monotonic() - asked_at < 1


def test_resume_wakes_a_lease_that_waits(web: Web, connection: Connection) -> None:
    tell(web, "pause")
    external = put_one(connection, "external", queue=HELD)
    got: list[str] = []
    waiting = threading.Thread(target=lambda: got.extend(lease(web, wait_ms=20_000)))
    waiting.start()
    listening = (
        "select count(*) from pg_stat_activity"
        " where application_name = 'windlass-web-listener' and datname = current_database()"
    )
    until(lambda: connection.fetch_one(listening) == (1,), 10, "somebody waits")
    resumed_at = time.monotonic()
    tell(web, "resume")
    waiting.join(10)
    assert got == [external]
    assert time.monotonic() - resumed_at < 2
