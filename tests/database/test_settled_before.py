"""A settle sent again after its answer was lost is known, and nothing else is taken for it."""

from collections.abc import Callable

import pytest
from support.work import add, claim_one, lose, past, register

from sql import dead_letters, jobs, leases
from sql.connection import Connection
from sql.leases import Failure, Lease, Settled

Settle = Callable[[Connection, int | None, Lease], object]

SETTLES: dict[str, Settle] = {
    "ack": lambda conn, worker, lease: leases.ack(conn, worker, [(lease, "1")]),
    "fail": lambda conn, worker, lease: leases.fail(conn, worker, [Failure(lease, "boom", 9)]),
    "dead": lambda conn, worker, lease: leases.fail(conn, worker, [Failure(lease, "boom", permanent=True)]),
    "release": lambda conn, worker, lease: leases.release(conn, worker, [lease]),
    "ack_cancelled": lambda conn, worker, lease: leases.ack_cancelled(conn, worker, [lease]),
}
WENT_TO = {
    "ack": Settled("succeeded", None),
    "fail": Settled("ready", "boom", False),
    "dead": Settled("failed_permanent", "boom", True),
    "release": Settled("ready", None),
    "ack_cancelled": Settled("cancelled", None),
}


def known(conn: Connection, lease: Lease) -> Settled | None:
    """How this one lease was settled."""
    return leases.settled_before(conn, [lease]).get(lease.id)


@pytest.fixture(params=[True, False], ids=["worker", "http"])
def holder(request: pytest.FixtureRequest, connection: Connection) -> int | None:
    return register(connection) if request.param else None


def test_each_settle_is_known_again_in_its_own_form(connection: Connection, holder: int | None) -> None:
    for form, settle in SETTLES.items():
        job_id = add(connection)
        lease = claim_one(connection, holder)
        assert known(connection, lease) is None
        settle(connection, holder, lease)
        assert known(connection, lease) == WENT_TO[form]
        assert known(connection, Lease(job_id, lease.fence + 1)) is None
        jobs.cancel(connection, job_id)


def test_a_rescue_is_told_from_the_holders_own_settle_by_its_error(connection: Connection, holder: int | None) -> None:
    for max_attempts, cancel, state in ((3, False, "ready"), (3, True, "cancelled"), (1, True, "failed_permanent")):
        job_id = add(connection, max_attempts=max_attempts)
        worker = None if holder is None else register(connection)
        lease = claim_one(connection, worker)
        if cancel:
            jobs.cancel(connection, job_id)
        if worker is None:
            past(connection, "running", "lease_expires_at", 3600)
        else:
            lose(connection, worker)
        assert job_id in leases.rescue(connection, workers_too=True)
        error = "lease expired" if worker is None else "worker lost: its heartbeat stopped"
        assert known(connection, lease) == Settled(state, error)
        jobs.cancel(connection, job_id)


def test_a_rescue_is_told_from_a_report_of_the_same_words(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection)
    past(connection, "running", "lease_expires_at", 3600)
    leases.rescue(connection, workers_too=False)
    rescued = known(connection, lease)
    assert rescued is not None
    assert rescued.error == "lease expired"
    assert not rescued.is_report(Failure(lease, "lease expired"))


def test_a_report_of_another_end_is_another_report(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection)
    for_good = Failure(lease, "boom", permanent=True)
    leases.fail(connection, None, [for_good])
    dead_letters.redrive(connection, [lease.id])
    before = known(connection, lease)
    assert before is not None
    assert before.is_report(for_good)
    assert before.is_report(for_good._replace(delay=9))
    assert not before.is_report(for_good._replace(permanent=False))
    assert not before.is_report(for_good._replace(error="bang"))


def test_a_settle_that_ended_in_cancelled_is_known(connection: Connection, holder: int | None) -> None:
    for form, error in (("fail", "boom"), ("release", None), ("ack_cancelled", None)):
        job_id = add(connection)
        lease = claim_one(connection, holder)
        jobs.cancel(connection, job_id)
        SETTLES[form](connection, holder, lease)
        assert known(connection, lease) == Settled("cancelled", error, False if error else None)


def test_a_failure_is_known_after_all_that_came_later(connection: Connection, holder: int | None) -> None:
    add(connection, max_attempts=2)
    first = claim_one(connection, holder)
    leases.fail(connection, holder, [Failure(first, "one")])
    second = claim_one(connection, holder)
    assert known(connection, first) == Settled(None, "one", False)
    assert known(connection, second) is None
    leases.fail(connection, holder, [Failure(second, "two")])
    assert dead_letters.redrive(connection, [first.id]) == [first.id]
    third = claim_one(connection, holder)
    leases.ack(connection, holder, [(third, None)])
    assert [known(connection, lease) for lease in (first, second, third)] == [
        Settled(None, "one", False),
        Settled(None, "two", False),
        Settled("succeeded", None),
    ]


def test_a_release_is_known_also_when_the_job_was_claimed_again(connection: Connection, holder: int | None) -> None:
    job_id = add(connection)
    lease = claim_one(connection, holder)
    leases.release(connection, holder, [lease])
    assert known(connection, lease) == Settled("ready", None)
    second = claim_one(connection, holder)
    assert known(connection, lease) == Settled("released", None)
    assert known(connection, second) is None
    leases.fail(connection, holder, [Failure(second, "boom")])
    assert known(connection, lease) == Settled("released", None)
    third = claim_one(connection, holder)
    leases.ack(connection, holder, [(third, None)])
    assert known(connection, lease) == Settled("released", None)
    assert known(connection, second) == Settled(None, "boom", False)
    assert known(connection, Lease(job_id, third.fence + 1)) is None


def test_what_was_taken_back_from_a_holder_is_not_taken_for_released(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection)
    past(connection, "running", "lease_expires_at", 3600)
    leases.rescue(connection, workers_too=False)
    claim_one(connection)
    assert known(connection, lease) == Settled(None, "lease expired")


def test_of_many_leases_those_settled_are_named(connection: Connection) -> None:
    written, running = list[Lease](), list[Lease]()
    for n in range(6):
        add(connection)
        lease = claim_one(connection)
        if n % 2:
            leases.ack(connection, None, [(lease, None)])
        (written if n % 2 else running).append(lease)
    assert set(leases.settled_before(connection, [*running, *written])) == {lease.id for lease in written}
    assert leases.settled_before(connection, []) == {}
