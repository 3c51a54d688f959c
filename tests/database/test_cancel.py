"""Cancel: at once while a job waits, a request while it runs, nothing when it has ended; never "missing" by mistake."""

import threading
from collections.abc import Callable

from support.waiting import until
from support.work import Meanwhile, add, at_once, claim, claim_one, everything, inside, lease_of, look, lose

from sql import jobs, leases
from sql.connection import Connection
from sql.leases import Failure, Lease

Opener = Callable[[], Connection]
UNKNOWN = "01900000-0000-7000-8000-000000000000"


def flagged(conn: Connection, worker: int, **facts: object) -> Lease:
    """A lease whose job was asked to stop."""
    job_id = add(conn, **facts)
    lease = claim_one(conn, worker)
    assert jobs.cancel(conn, job_id) == "flagged"
    return lease


def test_a_queued_job_is_cancelled_at_once(connection: Connection) -> None:
    job_id = add(connection)
    assert jobs.cancel(connection, job_id) == "cancelled"
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.started_at) == ("cancelled", 0, None)
    assert job.finished_at == job.updated_at is not None
    assert claim(connection) == []


def test_a_scheduled_job_is_cancelled_at_once(connection: Connection) -> None:
    job_id = add(connection, run_at="2999-01-01T00:00:00Z")
    assert jobs.cancel(connection, job_id) == "cancelled"
    assert look(connection, job_id).run_at == "2999-01-01T00:00:00.000000Z"


def test_a_retrying_job_is_cancelled_with_its_attempts_and_its_error(connection: Connection) -> None:
    job_id = add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom", delay=60)])
    assert jobs.cancel(connection, job_id) == "cancelled"
    job = look(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("cancelled", 1, "boom")


def test_a_running_job_is_flagged_and_runs_on(connection: Connection, worker: int) -> None:
    lease = flagged(connection, worker)
    job = look(connection, lease.id)
    assert (job.status, job.cancel_requested) == ("running", True)
    assert inside(connection, lease.id).fence == lease.fence
    assert jobs.cancel(connection, lease.id) == "flagged"


def test_the_holder_learns_of_the_request(connection: Connection, worker: int) -> None:
    lease = flagged(connection, worker)
    assert [row.cancel_requested for row in leases.held_by(connection, [worker])] == [True]
    leases.ack_cancelled(connection, worker, [lease])
    add(connection)
    http = claim_one(connection)
    assert leases.extend(connection, http, 1000) is False
    jobs.cancel(connection, http.id)
    assert leases.extend(connection, http, 1000) is True


def test_a_holder_that_stops_ends_its_job_as_cancelled(connection: Connection, worker: int) -> None:
    lease = flagged(connection, worker)
    assert leases.ack_cancelled(connection, worker, [lease]) == {lease.id}
    job = look(connection, lease.id)
    assert (job.status, job.attempts, job.last_error, job.cancel_requested) == ("cancelled", 1, None, False)
    assert job.started_at is not None


def test_a_job_that_ends_first_keeps_its_own_end(connection: Connection, worker: int) -> None:
    acked = flagged(connection, worker)
    assert leases.ack(connection, worker, [(acked, "1")]) == {acked.id}
    assert look(connection, acked.id).status == "succeeded"
    dead = flagged(connection, worker)
    leases.fail(connection, worker, [Failure(dead, "no such address", permanent=True)])
    assert look(connection, dead.id).status == "failed_permanent"
    last = flagged(connection, worker, max_attempts=1)
    leases.fail(connection, worker, [Failure(last, "boom")])
    assert look(connection, last.id).status == "failed_permanent"


def test_a_failure_that_would_be_tried_again_ends_in_cancelled(connection: Connection, worker: int) -> None:
    lease = flagged(connection, worker)
    assert leases.fail(connection, worker, [Failure(lease, "boom")]) == {lease.id: "cancelled"}
    job = look(connection, lease.id)
    assert (job.status, job.attempts, job.last_error) == ("cancelled", 1, "boom")


def test_a_release_ends_in_cancelled_with_its_attempt_given_back(connection: Connection, worker: int) -> None:
    lease = flagged(connection, worker)
    assert leases.release(connection, worker, [lease]) == {lease.id}
    job = look(connection, lease.id)
    assert (job.status, job.attempts, job.last_error) == ("cancelled", 0, None)


def test_a_rescue_ends_in_cancelled(connection: Connection, worker: int) -> None:
    lease = flagged(connection, worker)
    lose(connection, worker)
    assert leases.rescue(connection, workers_too=True) == {lease.id: "cancelled"}
    assert look(connection, lease.id).attempts == 1


def test_a_job_that_has_ended_is_left_alone(connection: Connection, worker: int) -> None:
    endings: list[Callable[[Lease], object]] = [
        lambda lease: leases.ack(connection, worker, [(lease, None)]),
        lambda lease: leases.fail(connection, worker, [Failure(lease, "boom", permanent=True)]),
        lambda lease: leases.ack_cancelled(connection, worker, [lease]),
    ]
    for end in endings:
        add(connection)
        lease = claim_one(connection, worker)
        end(lease)
        before = everything(connection)
        assert jobs.cancel(connection, lease.id) == "terminal"
        assert everything(connection) == before


def test_an_unknown_job_is_missing(connection: Connection) -> None:
    assert jobs.cancel(connection, UNKNOWN) == "missing"


def test_of_two_cancels_at_once_one_ends_the_job_and_the_other_finds_it_ended(
    connection: Connection, open_another: Opener
) -> None:
    other = open_another()
    for _ in range(30):
        job_id = add(connection)
        answers = at_once(lambda j=job_id: jobs.cancel(connection, j), lambda j=job_id: jobs.cancel(other, j))
        assert sorted(answers) == ["cancelled", "terminal"]


def test_a_cancel_that_meets_a_claim_flags_the_job(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    job_id = add(connection)
    with connection.transaction():
        claim_one(connection)
        cancel = Meanwhile(other, lambda: jobs.cancel(other, job_id))
        until(lambda: cancel.waits(watcher), message="the cancel waits")
    assert cancel.answer() == "flagged"
    assert look(connection, job_id).cancel_requested


def test_a_cancel_that_meets_a_release_ends_the_job(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    job_id = add(connection)
    lease = claim_one(connection)
    with connection.transaction():
        leases.release(connection, None, [lease])
        cancel = Meanwhile(other, lambda: jobs.cancel(other, job_id))
        until(lambda: cancel.waits(watcher), message="the cancel waits")
    assert cancel.answer() == "cancelled"
    assert look(connection, job_id).status == "cancelled"


def test_a_give_back_that_meets_a_cancel_honours_it(connection: Connection, worker: int, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    give_backs: list[Callable[[Lease], object]] = [
        lambda lease: leases.release(other, worker, [lease]),
        lambda lease: leases.fail(other, worker, [Failure(lease, "boom")]),
    ]
    for give_back in give_backs:
        add(connection)
        lease = claim_one(connection, worker)
        with connection.transaction():
            assert jobs.cancel(connection, lease.id) == "flagged"
            giving = Meanwhile(other, lambda back=give_back, lease=lease: back(lease))
            until(lambda giving=giving: giving.waits(watcher), message="the settle waits")
        assert giving.answer()
        assert look(connection, lease.id).status == "cancelled"


def test_a_job_on_the_move_is_never_missing(open_another: Opener) -> None:
    movers, canceller = [open_another(), open_another()], open_another()
    over, answers = threading.Event(), list[str]()

    def move(mover: Connection) -> int:
        """Between ready and running as fast as it goes."""
        moves = 0
        while not over.is_set():
            held = [lease_of(claimed) for claimed in claim(mover)]
            moves += len(leases.release(mover, None, held))
        return moves

    def cancel() -> int:
        for _ in range(150):
            job_id = add(canceller)
            answer = "flagged"
            while answer == "flagged":
                answer = jobs.cancel(canceller, job_id)
                answers.append(answer)
        over.set()
        return 0

    moves = at_once(cancel, *[lambda mover=mover: move(mover) for mover in movers])
    assert sum(moves) > 0
    # Flagged and then released, a job has ended when the next cancel asks.
    assert set(answers) <= {"flagged", "cancelled", "terminal"}
    assert len(answers) - answers.count("flagged") == 150
