"""Release: the job goes back at once and the attempt was none."""

from support.work import add, add_many, claim, claim_one, inside, lease_of, look, past

from sql import leases
from sql.connection import Connection
from sql.leases import Failure


def test_a_released_job_waits_again_and_its_attempt_is_given_back(connection: Connection, worker: int) -> None:
    job_id = add(connection)
    lease = claim_one(connection, worker)
    leases.report_progress(connection, worker, lease, "50")
    assert leases.release(connection, worker, [lease]) == {job_id}
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error, job.progress) == ("queued", 0, None, None)
    assert (job.started_at, inside(connection, job_id)) == (None, (lease.fence, None, None))


def test_a_released_job_is_due_now_and_not_when_it_first_was(connection: Connection, worker: int) -> None:
    job_id = add(connection, run_at="2001-01-01T00:00:00Z")
    leases.release(connection, worker, [claim_one(connection, worker)])
    row = connection.fetch_one("select run_at >= created_at, run_at <= now() from windlass.job_view")
    assert row == (True, True)
    assert claim_one(connection).id == job_id


def test_a_released_job_stands_behind_those_that_waited_longer(connection: Connection, worker: int) -> None:
    first = add(connection)
    lease = claim_one(connection, worker)
    second = add(connection)
    leases.release(connection, worker, [lease])
    assert [claim_one(connection).id for _ in range(2)] == [second, first]


def test_however_often_released_a_job_keeps_all_its_attempts(connection: Connection, worker: int) -> None:
    job_id = add(connection, max_attempts=1)
    for _ in range(20):
        leases.release(connection, worker, [claim_one(connection, worker)])
    assert claim(connection, worker)[0].attempt == 1
    assert look(connection, job_id).status == "running"


def test_a_release_gives_back_only_its_own_attempt(connection: Connection, worker: int) -> None:
    job_id = add(connection)
    leases.fail(connection, worker, [Failure(claim_one(connection, worker), "boom")])
    leases.release(connection, worker, [claim_one(connection, worker)])
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("retrying", 1, "boom")


def test_a_crash_counts_and_a_give_back_does_not(connection: Connection, worker: int) -> None:
    job_id = add(connection, max_attempts=2)
    leases.release(connection, worker, [claim_one(connection, worker)])
    leases.fail(connection, worker, [Failure(claim_one(connection, worker), "killed by signal 9")])
    leases.release(connection, worker, [claim_one(connection, worker)])
    assert look(connection, job_id).attempts == 1
    went = leases.fail(connection, worker, [Failure(claim_one(connection, worker), "killed by signal 9")])
    assert went == {job_id: "failed_permanent"}


def test_many_are_released_together(connection: Connection, worker: int) -> None:
    ids = set(add_many(connection, 100))
    held = [lease_of(job) for job in claim(connection, worker, limit=100)]
    assert leases.release(connection, worker, held) == ids
    assert {job.id for job in claim(connection, limit=200)} == ids


def test_an_expired_http_lease_nobody_took_is_released_like_any_other(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection, lease_ms=100)
    past(connection, "running", "lease_expires_at", 3600)
    assert leases.release(connection, None, [lease]) == {lease.id}
    assert look(connection, lease.id).attempts == 0
