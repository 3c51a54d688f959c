"""Redrive: a dead letter starts over with nothing held against it, and nothing of what happened is lost."""

import threading
import time
from collections.abc import Callable, Sequence

from support.work import (
    KIND,
    LEASE_MS,
    add,
    add_many,
    at_once,
    claim,
    claim_one,
    everything,
    from_start,
    inside,
    lease_of,
    look,
)

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
    assert (claimed.id, claimed.attempt) == (job_id, 1)
    assert claimed.fence > fence


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


def died(conn: Connection, error: str = "boom", **facts: object) -> str:
    """As `dead`, with an error of its own."""
    job_id = add(conn, **facts)
    lease = claim_one(conn, **{name: facts[name] for name in ("queue",) if name in facts}, kinds=["email", "resize"])
    leases.fail(conn, None, [Failure(lease, error, permanent=True)])
    return job_id


def statuses(conn: Connection, ids: Sequence[str]) -> list[str]:
    return [look(conn, job_id).status for job_id in ids]


def test_the_dead_letters_of_a_queue_are_redriven_in_the_order_in_which_they_died(connection: Connection) -> None:
    young, old = add(connection, priority=1), add(connection)
    # The job made last dies first.
    for job_id in (old, young):
        (claimed,) = leases.claim(
            connection, queue="default", picks=from_start((KIND, look(connection, job_id).priority)), limit=1,
            lease_ms=LEASE_MS,
        )  # fmt: skip
        leases.fail(connection, None, [Failure(lease_of(claimed), "boom", permanent=True)])
    newest = died(connection)
    assert [job.id for job in dead_letters.page(connection, "default", 10).jobs] == [newest, young, old]
    assert dead_letters.redrive_matching(connection, "default", limit=1) == (3, 1)
    assert statuses(connection, [old, young, newest]) == ["queued", "failed_permanent", "failed_permanent"]
    assert dead_letters.redrive_matching(connection, "default", limit=10) == (2, 2)
    assert dead_letters.redrive_matching(connection, "default", limit=10) == (0, 0)


def test_a_redrive_of_a_queue_touches_its_dead_letters_only(connection: Connection) -> None:
    mine, other = died(connection), died(connection, queue="other")
    ended, waiting = cancelled(connection), add(connection, run_at="2999-01-01T00:00:00Z")
    add(connection)
    done = claim_one(connection)
    leases.ack(connection, None, [(done, None)])
    assert dead_letters.redrive_matching(connection, "default", limit=10) == (1, 1)
    assert statuses(connection, [mine, other, ended, done.id]) == [
        "queued", "failed_permanent", "cancelled", "succeeded",
    ]  # fmt: skip
    assert look(connection, mine).last_error is None
    assert look(connection, waiting).status == "queued"
    assert dead_letters.redrive_matching(connection, "nobody's", limit=10) == (0, 0)


def test_filters_by_kind_and_by_a_plain_part_of_the_last_error_must_both_fit(connection: Connection) -> None:
    fits = died(connection, "HTTP 100% of_all\\x", kind="resize")
    others = [
        died(connection, "HTTP 100% of_all\\x"),
        died(connection, "http 100% OF_all\\x", kind="resize"),
        died(connection, "HTTP 1000 ofxall\\x", kind="resize"),
    ]
    for part in ("100% of_all\\x", "%", "f_a", "\\x", "HTTP 100% of_all\\x"):
        counted = dead_letters.redrive_matching(connection, "default", kind="resize", error_contains=part, limit=0)
        assert counted.matched >= 1, part
    assert dead_letters.redrive_matching(
        connection, "default", kind="resize", error_contains="HTTP 100% of_all\\x", limit=10
    ) == (1, 1)
    assert statuses(connection, [fits, *others]) == ["queued", *["failed_permanent"] * 3]
    assert dead_letters.redrive_matching(connection, "default", error_contains="HTTP 1%", limit=10) == (0, 0)
    assert dead_letters.redrive_matching(connection, "default", kind="nope", limit=10) == (0, 0)


def test_the_error_that_counts_is_the_last_one_and_none_that_was_cleared(connection: Connection) -> None:
    job_id = add(connection, max_attempts=2)
    for error in ("first", "second"):
        leases.fail(connection, None, [Failure(claim_one(connection), error)])
    assert dead_letters.redrive_matching(connection, "default", error_contains="first", limit=5) == (0, 0)
    assert dead_letters.redrive_matching(connection, "default", error_contains="second", limit=5) == (1, 1)
    leases.fail(connection, None, [Failure(claim_one(connection), "third", permanent=True)])
    assert dead_letters.redrive_matching(connection, "default", error_contains="second", limit=5) == (0, 0)
    assert look(connection, job_id).last_error == "third"


def test_a_limit_of_none_counts_and_changes_nothing(connection: Connection) -> None:
    for _ in range(3):
        died(connection)
    before = everything(connection)
    assert dead_letters.redrive_matching(connection, "default", limit=0) == (3, 0)
    assert everything(connection) == before


def test_two_redrives_at_once_share_the_dead_letters_and_queue_none_twice(
    connection: Connection, open_another: Opener
) -> None:
    connections = [open_another() for _ in range(4)]
    for _ in range(5):
        given = add_many(connection, 60)
        held = [lease_of(job) for job in claim(connection, limit=60)]
        leases.fail(connection, None, [Failure(lease, "boom", permanent=True) for lease in held])
        answers = at_once(
            *[lambda conn=conn: dead_letters.redrive_matching(conn, "default", limit=20) for conn in connections]
        )
        left = dead_letters.redrive_matching(connection, "default", limit=100).requeued
        assert sum(answer.requeued for answer in answers) + left == 60
        assert all(answer.requeued <= 20 for answer in answers)
        assert statuses(connection, given) == ["queued"] * 60
        leases.ack(connection, None, [(lease_of(job), None) for job in claim(connection, limit=100)])


def test_a_redrive_does_not_wait_for_a_dead_letter_somebody_else_is_moving(
    connection: Connection, open_another: Opener
) -> None:
    taken, free = died(connection), died(connection)
    other = open_another()
    with other.transaction():
        assert dead_letters.redrive(other, [taken]) == [taken]
        assert dead_letters.redrive_matching(connection, "default", limit=10) == (2, 1)
        assert statuses(connection, [taken, free]) == ["failed_permanent", "queued"]
    assert statuses(connection, [taken, free]) == ["queued", "queued"]


def test_jobs_that_die_again_at_once_are_neither_lost_nor_doubled(connection: Connection, open_another: Opener) -> None:
    given = add_many(connection, 30, max_attempts=1)
    workers = [open_another() for _ in range(3)]
    enough = threading.Event()

    def kill(conn: Connection) -> int:
        killed = 0
        while not enough.is_set():
            held = [lease_of(job) for job in claim(conn, limit=5)]
            killed += len(leases.fail(conn, None, [Failure(lease, "boom", permanent=True) for lease in held]))
        return killed

    def redrive(conn: Connection) -> int:
        requeued, until = 0, time.monotonic() + 30
        while requeued < 200 and time.monotonic() < until:
            requeued += dead_letters.redrive_matching(conn, "default", limit=7).requeued
        enough.set()
        return requeued

    *deaths, requeued = at_once(*[lambda conn=conn: kill(conn) for conn in workers], lambda: redrive(connection))
    assert requeued >= 200
    assert sum(deaths) - requeued == statuses(connection, given).count("failed_permanent")


def test_the_page_shows_the_dead_of_one_queue_newest_death_first(connection: Connection) -> None:
    ids = [died(connection, f"error {number}") for number in range(4)]
    died(connection, queue="other")
    cancelled(connection)
    page = dead_letters.page(connection, "default", 3).jobs
    assert [job.id for job in page] == ids[:0:-1]
    assert [job.last_error for job in page] == ["error 3", "error 2", "error 1"]
    assert {job.status for job in page} == {"failed_permanent"}
    # One that dies again is the newest again.
    dead_letters.redrive(connection, [ids[0]])
    leases.fail(connection, None, [Failure(claim_one(connection), "again", permanent=True)])
    assert [job.id for job in dead_letters.page(connection, "default", 50).jobs] == [ids[0], *ids[:0:-1]]
