"""Redrive: a dead letter starts over with nothing held against it, and nothing of what happened is lost."""

from collections.abc import Callable

from support.work import add, add_many, at_once, claim, claim_one, everything, inside, lease_of, look

from sql import dead_letters, jobs, leases
from sql.connection import Connection
from sql.leases import Failure
from sql.rows import Status

Opener = Callable[[], Connection]
UNKNOWN = "01900000-0000-7000-8000-000000000000"


def dead(conn: Connection, **facts: object) -> str:
    """A job that ended as a dead letter."""
    job_id = add(conn, **facts)
    leases.fail(conn, None, [Failure(claim_one(conn), "boom", permanent=True)])
    return job_id


def cancelled(conn: Connection) -> str:
    job_id = add(conn)
    jobs.cancel(conn, job_id)
    return job_id


def test_a_redriven_job_is_queued_anew(connection: Connection) -> None:
    job_id = dead(connection, run_at="2001-01-01T00:00:00Z", queue="default", priority=7, payload='{"n": 1}')
    fence = inside(connection, job_id).fence
    assert dead_letters.redrive(connection, [job_id]) == [job_id]
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("queued", 0, None)
    assert (job.started_at, job.finished_at, job.priority, job.payload) == (None, None, 7, '{"n": 1}')
    assert connection.fetch_one("select run_at between created_at and now() from windlass.job_view") == (True,)
    (claimed,) = claim(connection)
    assert (claimed.id, claimed.attempt) == (job_id, "1")
    assert int(claimed.fence) > fence


def test_its_errors_are_cleared_and_kept_as_history(connection: Connection) -> None:
    job_id = add(connection, max_attempts=2)
    for error in ("one", "two"):
        leases.fail(connection, None, [Failure(claim_one(connection), error)])
    dead_letters.redrive(connection, [job_id])
    leases.fail(connection, None, [Failure(claim_one(connection), "three")])
    assert look(connection, job_id).last_error == "three"
    rows = connection.fetch_all("select attempt, error, cleared from windlass.failures order by fence")
    assert rows == [(1, "one", True), (2, "two", True), (1, "three", False)]


def test_a_redriven_job_has_all_its_attempts_again(connection: Connection) -> None:
    job_id = add(connection, max_attempts=2)
    for _ in range(3):
        went = [leases.fail(connection, None, [Failure(claim_one(connection), "boom")])[job_id] for _ in range(2)]
        assert went == ["retrying", "failed_permanent"]
        assert dead_letters.redrive(connection, [job_id]) == [job_id]


def test_only_dead_letters_among_those_named_are_redriven(connection: Connection) -> None:
    mine, not_named = dead(connection), dead(connection)
    other_states = [cancelled(connection), add(connection)]
    running = [lease_of(job) for job in claim(connection)]
    add(connection)
    leases.ack(connection, None, [(claim_one(connection), None)])
    before = everything(connection)
    assert dead_letters.redrive(connection, [*other_states, *[lease.id for lease in running], UNKNOWN]) == []
    assert everything(connection) == before
    assert dead_letters.redrive(connection, [UNKNOWN, mine, *other_states]) == [mine]
    assert look(connection, not_named).status == "failed_permanent"
    assert dead_letters.redrive(connection, []) == []


def test_cancelled_jobs_are_redriven_when_asked_for(connection: Connection) -> None:
    job_id, other = cancelled(connection), dead(connection)
    assert dead_letters.redrive(connection, [job_id, other], [Status.CANCELLED]) == [job_id]
    assert claim_one(connection).id == job_id


def test_retry_takes_a_dead_letter_or_a_cancelled_job_and_refuses_the_rest(connection: Connection) -> None:
    for job_id in (dead(connection), cancelled(connection)):
        assert dead_letters.retry(connection, job_id) == "queued"
        assert dead_letters.retry(connection, job_id) == "conflict"
        jobs.cancel(connection, job_id)
    add(connection)
    lease = claim_one(connection)
    assert dead_letters.retry(connection, lease.id) == "conflict"
    leases.ack(connection, None, [(lease, None)])
    assert dead_letters.retry(connection, lease.id) == "conflict"
    assert dead_letters.retry(connection, UNKNOWN) == "missing"


def test_redriven_by_several_at_once_a_job_is_queued_once(connection: Connection, open_another: Opener) -> None:
    connections = [open_another() for _ in range(4)]
    given = add_many(connection, 50)
    for _ in range(5):
        held = [lease_of(job) for job in claim(connection, limit=50)]
        leases.fail(connection, None, [Failure(lease, "boom", permanent=True) for lease in held])
        answers = at_once(*[lambda conn=conn: dead_letters.redrive(conn, given) for conn in connections])
        assert sorted(job_id for answer in answers for job_id in answer) == sorted(given)
