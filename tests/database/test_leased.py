"""What a holder over HTTP is told of its jobs, and how much at once."""

import pytest
from support.work import add, claim, claim_one, lease_of, past, register

from sql import leases
from sql.connection import Connection
from sql.leases import Failure, Lease


def put_bytes(conn: Connection, count: int, size: int) -> list[Lease]:
    """So many jobs with payloads of `size` bytes, claimed over HTTP."""
    for _ in range(count):
        add(conn, payload=f'"{"x" * (size - 2)}"')
    return [lease_of(job) for job in claim(conn, limit=count)]


def test_a_claim_over_http_carries_no_payload(connection: Connection) -> None:
    add(connection, payload='{"n": 1}')
    (claimed,) = claim(connection)
    assert claimed.payload == ""


def test_the_holder_is_told_everything_about_its_job(connection: Connection) -> None:
    job_id = add(connection, payload='{"n": 1}', priority=3, max_attempts=4, timeout_seconds=7)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom")])
    lease = claim_one(connection, lease_ms=60_000)
    (told,) = leases.leased(connection, [lease], 1)
    assert (told.id, told.fence, told.queue, told.kind) == (job_id, lease.fence, "default", "email")
    assert (told.payload, told.attempts, told.max_attempts, told.priority) == ('{"n": 1}', 2, 4, 3)
    assert (told.last_error, told.timeout_seconds) == ("boom", 7)
    assert 0 < told.lease_ms_remaining <= 60_000
    assert told.created_at < told.updated_at < told.leased_until


@pytest.mark.parametrize(("most", "fit"), [(1, 1), (100, 1), (101, 2), (250, 3), (300, 3), (301, 4), (10_000, 5)])
def test_payloads_are_told_until_they_come_to_the_limit(connection: Connection, most: int, fit: int) -> None:
    held = put_bytes(connection, 5, 100)
    assert [job.id for job in leases.leased(connection, held, most)] == [lease.id for lease in held][:fit]


def test_jobs_are_told_in_the_order_given(connection: Connection) -> None:
    held = put_bytes(connection, 4, 10)[::-1]
    assert [job.id for job in leases.leased(connection, held, 1000)] == [lease.id for lease in held]


def test_of_a_lease_that_is_over_nothing_is_told(connection: Connection) -> None:
    over, live = put_bytes(connection, 2, 10)
    past(connection, "running", "lease_expires_at", 3600)
    leases.rescue(connection, workers_too=False, limit=1)
    again = {job.id for job in leases.leased(connection, [over, live], 1000)}
    assert len(again) == 1
    assert leases.leased(connection, [Lease(live.id, live.fence + 1)], 1000) == []
    assert leases.leased(connection, [], 1000) == []


def test_a_lease_of_the_pool_is_told_to_nobody_over_http(connection: Connection) -> None:
    add(connection)
    lease = claim_one(connection, register(connection))
    assert leases.leased(connection, [lease], 1000) == []
