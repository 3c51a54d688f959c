"""The fence: who does not hold the lease changes nothing, and of several settles of one lease one counts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.waiting import until
from support.work import (
    Meanwhile,
    add,
    add_many,
    at_once,
    claim,
    claim_one,
    everything,
    lease_of,
    look,
    lose,
    register,
)

from sql import jobs, leases
from sql.connection import Connection
from sql.leases import Failure, Lease

Opener = Callable[[], Connection]
Settle = Callable[[Connection, int | None, Lease], Any]

ENDINGS: dict[str, Settle] = {
    "ack": lambda conn, worker, lease: leases.ack(conn, worker, [(lease, "1")]),
    "fail": lambda conn, worker, lease: leases.fail(conn, worker, [Failure(lease, "boom")]),
    "dead": lambda conn, worker, lease: leases.fail(conn, worker, [Failure(lease, "boom", permanent=True)]),
    "release": lambda conn, worker, lease: leases.release(conn, worker, [lease]),
    "ack_cancelled": lambda conn, worker, lease: leases.ack_cancelled(conn, worker, [lease]),
}
FORMS: dict[str, Settle] = {
    **ENDINGS,
    "report_progress": lambda conn, worker, lease: leases.report_progress(conn, worker, lease, "1"),
    "extend": lambda conn, _worker, lease: leases.extend(conn, lease, 5000),
}


def in_every_form(
    conn: Connection, subtests: pytest.Subtests, worker: int | None, lease: Lease, forms: dict[str, Settle] = FORMS
) -> Iterator[str]:
    """Tries each form, which must be refused and change no row of any table."""
    before = everything(conn)
    for form, settle in forms.items():
        with subtests.test(form):
            assert not settle(conn, worker, lease)
            assert everything(conn) == before
            yield form


def test_a_stale_fence_changes_nothing(connection: Connection, worker: int, subtests: pytest.Subtests) -> None:
    for holder in (worker, None):
        add(connection)
        stale = claim_one(connection, holder)
        leases.release(connection, holder, [stale])
        current = claim_one(connection, holder)
        list(in_every_form(connection, subtests, holder, stale))
        assert leases.ack(connection, holder, [(current, None)]) == {current.id}
        list(in_every_form(connection, subtests, holder, current))


def test_a_fence_not_given_out_yet_changes_nothing(
    connection: Connection, worker: int, subtests: pytest.Subtests
) -> None:
    add(connection)
    lease = claim_one(connection, worker)
    list(in_every_form(connection, subtests, worker, Lease(lease.id, lease.fence + 1)))


def test_another_workers_id_changes_nothing(connection: Connection, worker: int, subtests: pytest.Subtests) -> None:
    add(connection)
    lease, other = claim_one(connection, worker), register(connection)
    for not_the_holder in (other, None):
        list(in_every_form(connection, subtests, not_the_holder, lease))
    assert leases.ack(connection, worker, [(lease, None)]) == {lease.id}


def test_a_worker_cannot_settle_an_http_lease(connection: Connection, worker: int, subtests: pytest.Subtests) -> None:
    add(connection)
    lease = claim_one(connection)
    forms = {form: settle for form, settle in FORMS.items() if form != "extend"}
    list(in_every_form(connection, subtests, worker, lease, forms))
    assert leases.ack(connection, None, [(lease, None)]) == {lease.id}


def test_a_fence_is_good_for_its_own_job_only(connection: Connection, worker: int, subtests: pytest.Subtests) -> None:
    add_many(connection, 2)
    one, two = (lease_of(job) for job in claim(connection, worker, limit=2))
    before = everything(connection)
    crossed = [Lease(one.id, two.fence), Lease(two.id, one.fence)]
    refused = {
        "ack": lambda: leases.ack(connection, worker, [(lease, None) for lease in crossed]),
        "fail": lambda: leases.fail(connection, worker, [Failure(lease, "boom") for lease in crossed]),
        "release": lambda: leases.release(connection, worker, crossed),
        "ack_cancelled": lambda: leases.ack_cancelled(connection, worker, crossed),
        "report_progress": lambda: leases.report_progress(connection, worker, crossed[0], "1"),
        "extend": lambda: leases.extend(connection, crossed[0], 1000),
    }
    for form, settle in refused.items():
        with subtests.test(form):
            assert not settle()
            assert everything(connection) == before


def test_in_a_batch_only_the_lost_lease_is_refused(connection: Connection, worker: int) -> None:
    batches: list[Callable[[list[Lease]], Any]] = [
        lambda batch: leases.ack(connection, worker, [(lease, "1") for lease in batch]),
        lambda batch: leases.fail(connection, worker, [Failure(lease, "boom", delay=60) for lease in batch]),
        lambda batch: leases.release(connection, worker, batch),
        lambda batch: leases.ack_cancelled(connection, worker, batch),
    ]
    for number, settle in enumerate(batches):
        kind = f"kind {number}"
        add_many(connection, 3, kind=kind)
        held = [lease_of(job) for job in claim(connection, worker, limit=3, kinds=[kind])]
        lost = Lease(held[1].id, held[1].fence + 1000)
        assert set(settle([held[0], lost, held[2]])) == {held[0].id, held[2].id}
        assert look(connection, lost.id).status == "running"


def test_a_holder_whose_job_was_rescued_and_taken_by_another_changes_nothing(
    connection: Connection, worker: int, subtests: pytest.Subtests
) -> None:
    job_id = add(connection)
    lost = claim_one(connection, worker)
    lose(connection, worker)
    leases.rescue(connection, workers_too=True)
    list(in_every_form(connection, subtests, worker, lost))
    successor = register(connection)
    current = claim_one(connection, successor)
    list(in_every_form(connection, subtests, worker, lost))
    assert leases.ack(connection, successor, [(current, '"new"')]) == {job_id}
    assert look(connection, job_id).result == '"new"'


def test_of_several_settles_of_one_lease_exactly_one_counts(connection: Connection, open_another: Opener) -> None:
    connections = [open_another() for _ in ENDINGS]
    for _ in range(25):
        job_id = add(connection, max_attempts=100)
        lease = claim_one(connection)
        tries = zip(connections, ENDINGS.values(), strict=True)
        answers = at_once(*[lambda s=settle, c=conn, lease=lease: s(c, None, lease) for conn, settle in tries])
        assert sum(bool(answer) for answer in answers) == 1
        jobs.cancel(connection, job_id)


def test_a_settle_that_meets_an_update_of_the_row_still_counts(
    connection: Connection, worker: int, open_another: Opener
) -> None:
    # One snapshot sees the old version only: a settle that waited must find the new one.
    other, watcher = open_another(), open_another()
    for settle in ENDINGS.values():
        add(connection, priority=1)
        lease = claim_one(connection, worker)
        with connection.transaction():
            leases.report_progress(connection, worker, lease, "50")
            settling = Meanwhile(other, lambda settle=settle, lease=lease: settle(other, worker, lease))
            until(lambda settling=settling: settling.waits(watcher), message="the settle waits")
        assert settling.answer()
        jobs.cancel(connection, lease.id)
