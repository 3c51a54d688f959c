"""What a worker finished and what it takes next, in one statement."""

import pytest
from support.work import KIND, add, add_many, claim, from_start, lease_of, look, register

from sql import leases
from sql.connection import Connection
from sql.errors import Rejected
from sql.leases import Lease
from sql.rows import Claimed


def turn(
    conn: Connection, worker: int, settles: list[tuple[Lease, str | None]], limit: int = 5, queue: str = "default"
) -> tuple[int, list[Claimed]]:
    return leases.ack_and_claim(conn, settles, queue=queue, picks=from_start((KIND, 0)), limit=limit, worker_id=worker)


def test_it_settles_with_results_and_claims_in_order(connection: Connection, worker: int) -> None:
    made = add_many(connection, 5)
    held = [lease_of(job) for job in claim(connection, worker, limit=2)]
    acked, claimed = turn(connection, worker, [(held[1], '{"pages": 3}'), (held[0], None)])
    assert acked == 2
    assert [(job.id, job.attempt, job.payload) for job in claimed] == [(job_id, 1, "{}") for job_id in made[2:]]
    assert [(look(connection, job_id).status, look(connection, job_id).result) for job_id in made[:3]] == [
        ("succeeded", None),
        ("succeeded", '{"pages": 3}'),
        ("running", None),
    ]


def test_a_claim_that_finds_nothing_settles_all_the_same(connection: Connection, worker: int) -> None:
    job_id = add(connection)
    held = [lease_of(job) for job in claim(connection, worker)]
    assert turn(connection, worker, [(held[0], None)]) == (1, [])
    assert look(connection, job_id).status == "succeeded"


def test_a_stale_fence_is_not_settled_and_the_claim_goes_on(connection: Connection, worker: int) -> None:
    add_many(connection, 3)
    mine, lost = [lease_of(job) for job in claim(connection, worker, limit=2)]
    acked, claimed = turn(connection, worker, [(mine, None), (Lease(lost.id, lost.fence + 1000), None)])
    assert (acked, len(claimed)) == (1, 1)
    assert look(connection, lost.id).status == "running"


def test_what_another_worker_holds_is_not_settled(connection: Connection, worker: int) -> None:
    job_id = add(connection)
    held = [lease_of(job) for job in claim(connection, register(connection))]
    assert turn(connection, worker, [(held[0], None)]) == (0, [])
    assert look(connection, job_id).status == "running"


def test_a_result_that_cannot_be_stored_leaves_everything_as_it_was(connection: Connection, worker: int) -> None:
    first, second, third = add_many(connection, 3)
    held = [lease_of(job) for job in claim(connection, worker, limit=2)]
    with pytest.raises(Rejected):
        turn(connection, worker, [(held[0], "1"), (held[1], '"\\u0000"')])
    assert [look(connection, job_id).status for job_id in (first, second, third)] == ["running", "running", "queued"]


def test_a_paused_queue_hands_out_nothing_and_what_ran_is_settled(connection: Connection, worker: int) -> None:
    first, second = add_many(connection, 2)
    held = [lease_of(job) for job in claim(connection, worker)]
    connection.execute("insert into windlass.queues (name, paused_at) values ('default', now())")
    assert turn(connection, worker, [(held[0], None)]) == (1, [])
    assert [look(connection, job_id).status for job_id in (first, second)] == ["succeeded", "queued"]
