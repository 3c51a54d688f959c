"""The end of a job and its follow-ups are one transaction."""

from typing import Any

import pytest
from support.work import add, at_once, claim_one, count, everything, lease_of, look, register
from support.work import claim as claim_jobs

from sql import jobs, leases
from sql.connection import Connection
from sql.leases import Failure, Lease
from workerpool.follow_ups import EndWithFollowUps, FollowUps, FollowUpsRefused
from workerpool.kinds import registry

KINDS = registry.load()


def ack_with(lease: Lease, *asked: dict[str, Any], worker: int | None = None) -> EndWithFollowUps:
    follow_ups = FollowUps(KINDS, 900)
    for each in asked:
        follow_ups.add({"kind": "external", "payload": None, **each})
    return EndWithFollowUps(lambda conn: leases.ack(conn, worker, [(lease, '"done"')]), follow_ups.take())


def test_both_are_written(any_connection: Connection) -> None:
    job_id = add(any_connection)
    end = ack_with(claim_one(any_connection), {"payload": 1}, {"payload": 2, "queue": "q"})
    assert end(any_connection) == {job_id}
    assert look(any_connection, job_id).result == '"done"'
    found = [look(any_connection, enqueued.id) for enqueued in end.enqueued]
    assert [(job.payload, job.queue, job.status) for job in found] == [("1", "default", "queued"), ("2", "q", "queued")]


def test_a_stale_fence_writes_neither(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection)
    before = everything(connection)
    end = ack_with(lease._replace(fence=lease.fence + 1), {"idempotency_key": "k"})
    assert (end(connection), end.enqueued) == (set(), [])
    assert ack_with(lease, {"idempotency_key": "k"}, worker=register(connection))(connection) == set()
    assert everything(connection) == before


def test_sent_again_after_it_was_committed_it_writes_nothing_and_was_meant(connection: Connection) -> None:
    job_id = add(connection)
    lease = claim_one(connection)
    end = ack_with(lease, {}, {})
    assert end(connection) == {job_id}
    before = everything(connection)
    first = end.enqueued
    assert (end(connection), end.enqueued) == (set(), first)
    assert everything(connection) == before
    assert leases.settled_before(connection, [lease])[job_id].state == "succeeded"


def test_what_the_database_refuses_leaves_both_unwritten_and_the_lease_in_force(
    connection: Connection, owner: Connection
) -> None:
    owner.execute("alter table windlass.jobs add constraint refuses check (queue <> 'refused')")
    job_id = add(connection)
    lease = claim_one(connection)
    before = everything(connection)
    with pytest.raises(FollowUpsRefused) as caught:
        ack_with(lease, {"idempotency_key": "k"}, {"queue": "refused"})(connection)
    assert caught.value.constraint == "refuses"
    assert everything(connection) == before
    assert leases.fail(connection, None, [Failure(lease, "refused", permanent=True)]) == {job_id: "failed_permanent"}


def test_a_key_is_found_or_left_out_beside_the_others(connection: Connection) -> None:
    first = add(connection)
    [made] = ack_once(connection, {"idempotency_key": "k", "payload": 1})
    second = add(connection)
    same, other, new = ack_once(
        connection,
        {"idempotency_key": "k", "payload": 1},
        {"idempotency_key": "l", "payload": 1},
        {"idempotency_key": "m"},
    )
    third = add(connection)
    [refused] = ack_once(connection, {"idempotency_key": "l", "payload": 2})
    assert (same, other.created, new.created) == ((made.id, False, True), True, True)
    assert refused == (other.id, False, False)
    assert {look(connection, job_id).status for job_id in (first, second, third)} == {"succeeded"}


def ack_once(connection: Connection, *asked: dict[str, Any]) -> list[jobs.Enqueued]:
    end = ack_with(claim_one(connection), *asked)
    assert end(connection)
    return end.enqueued


def test_one_key_makes_one_job_whoever_ends_first(open_another: Any) -> None:
    connections = [open_another() for _ in range(6)]
    for _ in connections:
        add(connections[0])
    held = [lease_of(claimed) for claimed in claim_jobs(connections[0], limit=len(connections))]
    ends = [ack_with(lease, {"idempotency_key": "b"}, {"idempotency_key": "a"}) for lease in held]
    at_once(*(lambda end=end, conn=conn: end(conn) for end, conn in zip(ends, connections, strict=True)))
    assert len({tuple(enqueued.id for enqueued in end.enqueued) for end in ends}) == 1
    assert [sum(end.enqueued[n].created for end in ends) for n in (0, 1)] == [1, 1]
    assert count(connections[0], "ready") == 2
