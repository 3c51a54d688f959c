"""Settling: each outcome goes to its place, with all that is known of the attempt."""

import pytest
from support.work import add, add_many, claim, claim_one, count, inside, lease_of, look, past, register

from sql import leases
from sql.connection import Connection
from sql.errors import Rejected
from sql.leases import Failure, Lease


def history(conn: Connection, job_id: str) -> list[tuple[int, str]]:
    """The failed attempts, oldest first."""
    rows = conn.fetch_all("select attempt, error from windlass.failures where id = %(id)s order by fence", id=job_id)
    return [(row[0], row[1]) for row in rows]


def seconds_until_due(conn: Connection, job_id: str) -> float:
    row = conn.fetch_one(
        "select extract(epoch from run_at - entered_at)::float8 from windlass.ready where id = %(id)s", id=job_id
    )
    assert row is not None
    return float(row[0])


def test_an_acked_job_has_succeeded_and_nobody_holds_it(connection: Connection) -> None:
    worker, job_id = register(connection), add(connection)
    lease = claim_one(connection, worker)
    started_at = look(connection, job_id).started_at
    assert leases.ack(connection, worker, [(lease, None)]) == {job_id}
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error, job.result) == ("succeeded", 1, None, None)
    assert (job.started_at, job.updated_at) == (started_at, job.finished_at)
    assert leases.held_by(connection, [worker]) == []
    assert inside(connection, job_id) == (lease.fence, worker, None)


def test_a_job_that_does_not_run_cannot_be_settled(connection: Connection) -> None:
    worker, lease = register(connection), Lease(add(connection), 0)
    assert leases.ack(connection, worker, [(lease, None)]) == set()
    assert leases.fail(connection, worker, [Failure(lease, "boom")]) == {}
    assert leases.release(connection, worker, [lease]) == set()
    assert leases.ack_cancelled(connection, worker, [lease]) == set()
    assert look(connection, lease.id).status == "queued"
    assert history(connection, lease.id) == []


def test_each_job_of_a_batch_keeps_its_own_result(connection: Connection) -> None:
    worker = register(connection)
    add_many(connection, 50)
    batch = claim(connection, worker, limit=50)
    results = {job.id: f'{{"n": "{n}, {{}} \\" \\\\ null"}}' for n, job in enumerate(batch)}
    settles = [(lease_of(job), results[job.id]) for job in reversed(batch)]
    assert leases.ack(connection, worker, settles) == set(results)
    stored = connection.fetch_all("select id::text, result::text from windlass.done")
    assert {row[0]: row[1] for row in stored} == results


def test_a_result_of_json_null_is_a_result(connection: Connection) -> None:
    add_many(connection, 2)
    null, none = claim(connection, limit=2)
    leases.ack(connection, None, [(lease_of(null), "null"), (lease_of(none), None)])
    assert look(connection, null.id).result == "null"
    assert look(connection, none.id).result is None


def test_a_result_the_database_refuses_leaves_the_whole_batch_running(connection: Connection) -> None:
    add_many(connection, 2)
    good, bad = (lease_of(job) for job in claim(connection, limit=2))
    for result in (r'"\u0000"', "{", "nul\0"):
        with pytest.raises(Rejected):
            leases.ack(connection, None, [(good, "1"), (bad, result)])
    assert count(connection, "running") == 2
    assert leases.ack(connection, None, [(good, "1")]) == {good.id}


def test_a_failed_job_waits_for_another_attempt(connection: Connection) -> None:
    worker, job_id = register(connection), add(connection)
    before = look(connection, job_id).run_at
    lease = claim_one(connection, worker)
    assert leases.fail(connection, worker, [Failure(lease, "boom", delay=30)]) == {job_id: "retrying"}
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("retrying", 1, "boom")
    assert job.run_at > before
    assert seconds_until_due(connection, job_id) == 30
    assert (job.started_at, job.finished_at) == (None, None)
    assert leases.held_by(connection, [worker]) == []


def test_the_next_attempt_comes_no_sooner_than_its_delay(connection: Connection) -> None:
    job_id = add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom", delay=1.25)])
    assert seconds_until_due(connection, job_id) == 1.25
    assert claim(connection) == []
    past(connection, "ready", "run_at", 1.25)
    assert [job.attempt for job in claim(connection)] == [2]


def test_a_failure_without_delay_is_due_at_once(connection: Connection) -> None:
    add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "the worker was killed")])
    assert [job.attempt for job in claim(connection)] == [2]


def test_a_job_that_fails_at_every_attempt_is_dead_after_exactly_max_attempts(connection: Connection) -> None:
    worker, job_id = register(connection), add(connection, max_attempts=3)
    went = [leases.fail(connection, worker, [Failure(claim_one(connection, worker), f"boom {n}")]) for n in range(3)]
    assert [answer[job_id] for answer in went] == ["retrying", "retrying", "failed_permanent"]
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 3, "boom 2")
    assert job.finished_at is not None
    assert claim(connection) == []
    assert history(connection, job_id) == [(1, "boom 0"), (2, "boom 1"), (3, "boom 2")]


def test_with_one_attempt_the_first_failure_is_the_last(connection: Connection) -> None:
    job_id = add(connection, max_attempts=1)
    assert leases.fail(connection, None, [Failure(claim_one(connection), "fatal", delay=9)]) == {
        job_id: "failed_permanent"
    }
    assert look(connection, job_id).last_error == "fatal"


def test_a_permanent_failure_is_dead_at_once(connection: Connection) -> None:
    job_id = add(connection, max_attempts=100)
    answer = leases.fail(connection, None, [Failure(claim_one(connection), "no such address", permanent=True)])
    assert answer == {job_id: "failed_permanent"}
    assert look(connection, job_id).attempts == 1


def test_a_batch_of_failures_goes_to_as_many_places(connection: Connection) -> None:
    worker = register(connection)
    again, last = add(connection), add(connection, max_attempts=1)
    permanent, lost = add(connection), add(connection)
    held = {job.id: lease_of(job) for job in claim(connection, worker, limit=4)}
    answer = leases.fail(
        connection,
        worker,
        [
            Failure(held[again], 'a "quoted" \\ {error}, NULL', delay=60),
            Failure(held[last], "b"),
            Failure(held[permanent], "NULL", permanent=True),
            Failure(Lease(lost, held[lost].fence + 1000), "d"),
        ],
    )
    assert answer == {again: "retrying", last: "failed_permanent", permanent: "failed_permanent"}
    assert look(connection, again).last_error == 'a "quoted" \\ {error}, NULL'
    assert look(connection, permanent).last_error == "NULL"
    assert look(connection, lost).status == "running"


def test_a_delay_no_date_can_hold_is_rejected_and_changes_nothing(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection)
    for delay in (1e300, float("inf"), float("nan"), 7000 * 366 * 86400.0):
        with pytest.raises(Rejected):
            leases.fail(connection, None, [Failure(lease, "boom", delay=delay)])
    assert look(connection, lease.id).status == "running"


def test_the_last_error_stays_after_a_success(connection: Connection) -> None:
    job_id = add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom")])
    leases.ack(connection, None, [(claim_one(connection), "1")])
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("succeeded", 2, "boom")


def test_progress_is_seen_while_the_job_runs(connection: Connection) -> None:
    worker, job_id = register(connection), add(connection)
    lease = claim_one(connection, worker)
    for text in ('{"done": 1}', '{"done": 2}'):
        assert leases.report_progress(connection, worker, lease, text)
        assert look(connection, job_id).progress == text
    leases.ack(connection, worker, [(lease, None)])
    assert not leases.report_progress(connection, worker, lease, "3")
    assert look(connection, job_id).progress is None


def test_an_http_lease_is_extended_from_now(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection, lease_ms=1000)
    past(connection, "running", "lease_expires_at", 1)
    assert leases.extend(connection, lease, 86_400_000) is False
    left = "select extract(epoch from lease_expires_at - now())::float8 from windlass.running"
    assert connection.fetch_one(left)[0] == pytest.approx(86400, abs=30)  # type: ignore[index]


def test_a_workers_lease_cannot_be_extended_as_an_http_lease(connection: Connection) -> None:
    worker = register(connection)
    add(connection)
    assert leases.extend(connection, claim_one(connection, worker), 1000) is None


def test_an_expired_lease_nobody_has_taken_may_still_be_settled(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection, lease_ms=100)
    past(connection, "running", "lease_expires_at", 3600)
    assert leases.ack(connection, None, [(lease, None)]) == {lease.id}


def test_a_clock_that_went_back_does_not_hold_up_a_settle(connection: Connection) -> None:
    worker = register(connection)
    add_many(connection, 4)
    held = [lease_of(job) for job in claim(connection, worker, limit=4)]
    connection.execute("update windlass.running set started_at = now() + interval '1 hour'")
    connection.execute("update windlass.running set cancel_requested = true where id = %(id)s", id=held[2].id)
    assert leases.ack(connection, worker, [(held[0], None)])
    assert leases.fail(connection, worker, [Failure(held[1], "boom", permanent=True)])
    assert leases.release(connection, worker, held[2:3])
    assert leases.ack_cancelled(connection, worker, held[3:])
    assert connection.fetch_one("select count(*) from windlass.done where finished_at = started_at") == (4,)


def test_settling_nothing_is_no_error(connection: Connection) -> None:
    assert leases.ack(connection, 1, []) == set()
    assert leases.fail(connection, 1, []) == {}
    assert leases.release(connection, 1, []) == set()
    assert leases.ack_cancelled(connection, 1, []) == set()
