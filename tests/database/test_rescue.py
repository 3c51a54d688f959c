"""Rescue: leases of holders that are gone come back, each attempt counted; nobody else's do."""

from collections.abc import Callable

import pytest
from support.waiting import until
from support.work import (
    Meanwhile,
    add,
    add_many,
    at_once,
    claim,
    claim_one,
    count,
    inside,
    lease_of,
    look,
    lose,
    past,
    register,
)

from sql import leases, workers
from sql.connection import Connection
from sql.leases import Failure

Opener = Callable[[], Connection]


@pytest.fixture
def worker(connection: Connection) -> int:
    return register(connection, lease_seconds=0.01)


def rescue(conn: Connection, **facts: object) -> dict[str, str]:
    """As a steward does it when the database has been there for a while."""
    return leases.rescue(conn, **{"workers_too": True, **facts})  # type: ignore[arg-type]


def expire(conn: Connection) -> None:
    """Every HTTP lease has just run out."""
    conn.execute("update windlass.running set lease_expires_at = now() where worker_id is null")


def test_a_lost_workers_job_comes_back_at_once_with_its_attempt_counted(connection: Connection, worker: int) -> None:
    job_id = add(connection, run_at="2001-01-01T00:00:00Z")
    lease = claim_one(connection, worker)
    past(connection, "workers", "heartbeat_at", 3600)
    past(connection, "running", "started_at", 3600)
    assert workers.mark_lost(connection) == [worker]
    assert rescue(connection) == {job_id: "retrying"}
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.started_at) == ("retrying", 1, None)
    assert job.last_error == "worker lost: its heartbeat stopped"
    assert inside(connection, job_id) == (lease.fence, None, None)
    assert leases.held_by(connection, [worker]) == []
    assert connection.fetch_one("select run_at between created_at and now() from windlass.job_view") == (True,)
    assert [claimed.attempt for claimed in claim(connection)] == [2]


def test_jobs_of_workers_lost_long_ago_are_found_by_a_thorough_rescue_only(connection: Connection, worker: int) -> None:
    job_id = add(connection)
    claim_one(connection, worker)
    lose(connection, worker)
    assert rescue(connection, thorough=False) == {job_id: "retrying"}
    claim_one(connection, worker)
    past(connection, "workers", "lost_at", 16)
    assert rescue(connection, thorough=False) == {}
    assert rescue(connection, thorough=True) == {job_id: "retrying"}


def test_a_living_workers_jobs_are_left_alone_however_long_they_run(connection: Connection, worker: int) -> None:
    add(connection)
    claim_one(connection, worker)
    past(connection, "running", "started_at", 365 * 86400)
    assert rescue(connection) == {}


def test_a_worker_nobody_knows_holds_nothing(connection: Connection) -> None:
    job_id = add(connection)
    claim_one(connection, 4711)
    assert rescue(connection) == {job_id: "retrying"}


def test_an_http_lease_comes_back_when_it_has_run_out_and_not_before(connection: Connection) -> None:
    job_id = add(connection)
    claim_one(connection)
    assert rescue(connection) == {}
    assert claim(connection) == []
    expire(connection)
    assert rescue(connection) == {job_id: "retrying"}
    job = look(connection, job_id)
    assert (job.attempts, job.last_error) == (1, "lease expired")
    assert [claimed.attempt for claimed in claim(connection)] == [2]


def test_after_an_outage_http_leases_are_rescued_and_workers_wait(connection: Connection, worker: int) -> None:
    add(connection)
    pool = claim_one(connection, worker)
    add(connection)
    http = claim_one(connection)
    lose(connection, worker)
    expire(connection)
    assert rescue(connection, workers_too=False) == {http.id: "retrying"}
    assert rescue(connection, workers_too=True) == {pool.id: "retrying"}


def test_a_queue_asked_for_alone_is_rescued_alone(connection: Connection) -> None:
    here, there = add(connection), add(connection, queue="other")
    claim_one(connection)
    claim_one(connection, queue="other")
    expire(connection)
    assert rescue(connection, queue="other", workers_too=False) == {there: "retrying"}
    assert rescue(connection) == {here: "retrying"}


def test_a_rescue_takes_no_more_than_its_limit(connection: Connection) -> None:
    given = add_many(connection, 7)
    claim(connection, limit=7)
    expire(connection)
    answers = [rescue(connection, limit=3) for _ in range(4)]
    assert [len(answer) for answer in answers] == [3, 3, 1, 0]
    assert {job_id for answer in answers for job_id in answer} == set(given)


def test_a_job_that_kills_its_worker_is_dead_after_exactly_max_attempts(connection: Connection) -> None:
    job_id = add(connection, max_attempts=3)
    went = []
    for _ in range(3):
        worker = register(connection)
        claim_one(connection, worker)
        lose(connection, worker)
        went.append(rescue(connection)[job_id])
    assert went == ["retrying", "retrying", "failed_permanent"]
    job = look(connection, job_id)
    assert (job.attempts, job.last_error) == (3, "worker lost: its heartbeat stopped")
    assert job.started_at is not None
    assert job.finished_at is not None
    assert claim(connection) == []
    assert count(connection, "failures") == 3


def test_a_job_that_outlives_its_http_leases_is_dead_after_exactly_max_attempts(connection: Connection) -> None:
    job_id = add(connection, max_attempts=2)
    went = []
    for _ in range(2):
        claim_one(connection)
        expire(connection)
        went.append(rescue(connection)[job_id])
    assert went == ["retrying", "failed_permanent"]


def test_the_last_attempt_is_dead_though_a_cancel_was_asked_for(connection: Connection, worker: int) -> None:
    job_id = add(connection, max_attempts=1)
    claim_one(connection, worker)
    connection.execute("update windlass.running set cancel_requested = true")
    lose(connection, worker)
    assert rescue(connection) == {job_id: "failed_permanent"}


def test_a_rescue_never_waits_for_a_settle_under_way(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    add_many(connection, 2)
    settled, expired = (lease_of(job) for job in claim(connection, limit=2))
    expire(connection)
    with connection.transaction():
        leases.ack(connection, None, [(settled, None)])
        assert rescue(other) == {expired.id: "retrying"}
    assert rescue(other) == {}
    assert look(connection, settled.id).status == "succeeded"


def test_a_settle_that_meets_a_rescue_is_refused(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    add(connection)
    lease = claim_one(connection)
    expire(connection)
    with connection.transaction():
        assert rescue(connection) == {lease.id: "retrying"}
        settling = Meanwhile(other, lambda: leases.fail(other, None, [Failure(lease, "late")]))
        until(lambda: settling.waits(watcher), message="the settle waits")
    assert settling.answer() == {}
    assert look(connection, lease.id).last_error == "lease expired"


def test_a_lease_extended_in_time_is_not_rescued(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    for _ in range(40):
        add(connection, max_attempts=100)
        lease = claim_one(connection)
        expire(connection)
        extended, rescued = at_once(
            lambda lease=lease: leases.extend(connection, lease, 60_000),
            lambda: rescue(other),
        )
        assert (extended is None) == (lease.id in rescued)
        leases.ack(connection, None, [(lease, None)])
        for job in claim(connection):
            leases.ack(connection, None, [(lease_of(job), None)])


def test_two_stewards_rescue_each_job_once(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    given = add_many(connection, 300, max_attempts=100)
    for _ in range(5):
        assert len(claim(connection, limit=300)) == 300
        expire(connection)
        one, two = at_once(lambda: rescue(connection), lambda: rescue(other))
        assert sorted([*one, *two]) == sorted(given)
