"""Numbers: how much waits, how long it has waited, and what is out on lease."""

import pytest
from support.work import add, add_many, claim, claim_one, past, register

from sql import jobs, leases, stats
from sql.connection import Connection
from sql.leases import Failure
from sql.rows import QueueDepth


def test_an_empty_database_has_nothing_to_tell(connection: Connection) -> None:
    stats.ping(connection)
    assert stats.depths(connection) == []
    assert stats.oldest_ready(connection) == []
    assert stats.inflight_leases(connection) == 0


def test_depths_count_what_has_not_ended_by_queue_and_status(connection: Connection) -> None:
    add_many(connection, 6)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom", delay=60)])
    claim(connection, limit=2)
    leases.ack(connection, None, [(claim_one(connection), None)])
    jobs.cancel(connection, add(connection))
    add(connection, queue="other", kind="resize", run_at="2999-01-01T00:00:00Z")
    assert stats.depths(connection) == [
        QueueDepth("default", "queued", 2),
        QueueDepth("default", "retrying", 1),
        QueueDepth("default", "running", 2),
        QueueDepth("other", "queued", 1),
    ]


def test_depths_agree_with_the_status_of_each_job(connection: Connection) -> None:
    for queue in ("a", "b"):
        add_many(connection, 5, queue=queue)
        claim(connection, queue=queue, limit=3)
    by_view = connection.fetch_all(
        "select queue, status, count(*) from windlass.job_view where finished_at is null group by 1, 2 order by 1, 2"
    )
    assert stats.depths(connection) == by_view


def test_the_age_of_a_queue_is_that_of_its_oldest_due_job_of_any_stream(any_connection: Connection) -> None:
    conn = any_connection
    add(conn, kind="z", priority=5)
    add(conn, kind="a", priority=-5)
    past(conn, "ready", "run_at", 50)
    add(conn, kind="a", priority=5, run_at="2999-01-01T00:00:00Z")
    add(conn, queue="scheduled", run_at="2999-01-01T00:00:00Z")
    old = add(conn, queue="other")
    conn.execute("update windlass.ready set run_at = now() - interval '1 hour' where id = %(id)s", id=old)
    add(conn, queue="other", priority=9)
    ages = {age.queue: age.seconds for age in stats.oldest_ready(conn)}
    assert ages == {"default": pytest.approx(50, abs=30), "other": pytest.approx(3600, abs=30)}


def test_the_age_of_a_queue_counts_from_when_its_work_was_due(connection: Connection) -> None:
    add(connection, run_at="2001-01-01T00:00:00Z")
    (age,) = stats.oldest_ready(connection)
    assert age.seconds > 20 * 365 * 86400


def test_only_http_leases_are_counted_as_leases(connection: Connection) -> None:
    worker = register(connection)
    add_many(connection, 5)
    claim(connection, worker, limit=2)
    assert stats.inflight_leases(connection) == 0
    held = claim(connection, limit=3)
    assert stats.inflight_leases(connection) == 3
    leases.release(connection, None, [leases.Lease(job.id, job.fence) for job in held])
    assert stats.inflight_leases(connection) == 0
