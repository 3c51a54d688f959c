"""Queues: what waits in them is counted, and a paused one hands out nothing, to whomever, until it is resumed."""

from collections.abc import Callable

import pytest
from support.work import add, add_many, at_once, claim, claim_one, lease_of, look, past, register

from sql import dead_letters, jobs, leases, queues
from sql.connection import Connection
from sql.leases import Failure
from sql.rows import QueueOverview

Opener = Callable[[], Connection]
LATER = "2999-01-01T00:00:00Z"


def test_a_paused_queue_hands_out_nothing_to_pool_or_lease_until_it_is_resumed(connection: Connection) -> None:
    add_many(connection, 3)
    queues.pause(connection, "default")
    worker = register(connection)
    assert leases.streams(connection, "default", ["email"]) == []
    assert claim(connection) == []
    assert claim(connection, worker) == []
    assert queues.resume(connection, "default") == 3
    assert len(claim(connection)) == 1
    assert len(claim(connection, worker)) == 1


def test_a_claim_whose_picks_were_made_before_the_pause_takes_nothing(connection: Connection) -> None:
    add(connection)
    picks = [
        leases.Pick(stream.kind, stream.priority, *leases.START)
        for stream in leases.streams(connection, "default", ["email"])
    ]
    queues.pause(connection, "default")
    assert leases.claim(connection, queue="default", picks=picks, limit=5, lease_ms=1000) == []


def test_a_pause_holds_its_own_queue_and_no_other(connection: Connection) -> None:
    add(connection, queue="a")
    add(connection, queue="b")
    queues.pause(connection, "a")
    assert claim(connection, queue="a") == []
    assert len(claim(connection, queue="b")) == 1


def test_a_paused_queue_takes_jobs_and_what_runs_in_it_goes_on(connection: Connection) -> None:
    add_many(connection, 3)
    acked, failed, released = (lease_of(job) for job in claim(connection, limit=3))
    queues.pause(connection, "default")
    assert leases.extend(connection, acked, 60_000) is False
    assert leases.ack(connection, None, [(acked, None)]) == {acked.id}
    assert leases.fail(connection, None, [Failure(failed, "boom")]) == {failed.id: "retrying"}
    assert leases.release(connection, None, [released]) == {released.id}
    assert look(connection, add(connection)).status == "queued"
    assert claim(connection, limit=5) == []
    assert queues.resume(connection, "default") == 3


def test_pause_and_resume_said_twice_are_said_once(connection: Connection) -> None:
    queues.pause(connection, "default")
    (first,) = queues.overview(connection)
    past(connection, "queues", "paused_at", 60)
    (moved,) = queues.overview(connection)
    queues.pause(connection, "default")
    # Since when it has been paused is not forgotten.
    assert queues.overview(connection) == [moved] != [first]
    for _ in range(2):
        assert queues.resume(connection, "default") == 0
        assert queues.overview(connection) == []


def test_a_queue_nobody_has_heard_of_can_be_paused_and_resumed(connection: Connection) -> None:
    assert queues.resume(connection, "new") == 0
    queues.pause(connection, "new")
    add(connection, queue="new")
    assert claim(connection, queue="new") == []
    assert queues.resume(connection, "new") == 1


def test_resume_counts_what_is_due_and_no_more_than_hints_are_worth(connection: Connection) -> None:
    add_many(connection, 1001)
    add(connection, queue="slow", run_at=LATER)
    assert queues.resume(connection, "default") == 1000
    assert queues.resume(connection, "slow") == 0


def test_depth_is_what_could_be_claimed_now(connection: Connection) -> None:
    assert queues.depth(connection, "default") == 0
    add_many(connection, 4)
    add(connection, run_at=LATER)
    add(connection, queue="other")
    held, failed = (lease_of(job) for job in claim(connection, limit=2))
    assert queues.depth(connection, "default") == 2
    leases.fail(connection, None, [Failure(failed, "boom", delay=60)])
    assert queues.depth(connection, "default") == 2
    leases.release(connection, None, [held])
    assert queues.depth(connection, "default") == 3
    queues.pause(connection, "default")
    assert queues.depth(connection, "default") == 3
    assert queues.depth(connection, "other") == 1


def test_the_overview_tells_each_queue_that_holds_work_or_is_paused(connection: Connection) -> None:
    assert queues.overview(connection) == []
    add_many(connection, 4)
    past(connection, "ready", "run_at", 90)
    add(connection, run_at=LATER)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom", delay=60)])
    claim(connection)
    add(connection, queue="busy")
    claim(connection, queue="busy")
    jobs.cancel(connection, add(connection, queue="ended"))
    queues.pause(connection, "idle")
    busy, default, idle = queues.overview(connection)
    assert busy == QueueOverview("busy", 0, 0, 0, 1, None, None)
    assert default[:5] == ("default", 2, 3, 1, 1)
    assert default.oldest_ready_seconds == pytest.approx(90, abs=10)
    assert default.paused_at is None
    assert idle[:6] == ("idle", 0, 0, 0, 0, None)
    assert idle.paused_at is not None
    assert connection.fetch_one("select %(at)s::timestamptz = paused_at from windlass.queues", at=idle.paused_at) == (
        True,
    )
    assert queues.overview(connection, limit=1) == [busy]


def test_the_overview_agrees_with_depth(connection: Connection) -> None:
    for queue in ("a", "b", "c"):
        add_many(connection, 3, queue=queue)
        add(connection, queue=queue, run_at=LATER)
        claim(connection, queue=queue)
    for seen in queues.overview(connection):
        assert seen.depth == queues.depth(connection, seen.queue) == 2
        assert (seen.queued, seen.running) == (3, 1)


def test_jobs_redriven_into_a_paused_queue_wait_there(connection: Connection) -> None:
    job_id = add(connection)
    leases.fail(connection, None, [Failure(claim_one(connection), "boom", permanent=True)])
    queues.pause(connection, "default")
    assert dead_letters.redrive_matching(connection, "default", limit=5) == (1, 1)
    assert claim(connection) == []
    assert look(connection, job_id).status == "queued"


def test_several_who_pause_and_resume_at_once_do_not_hinder_each_other(
    connection: Connection, open_another: Opener
) -> None:
    add_many(connection, 20)
    others = [open_another() for _ in range(4)]

    def toggle(conn: Connection) -> int:
        taken = 0
        for _ in range(50):
            queues.pause(conn, "default")
            taken += len(claim(conn))
            queues.resume(conn, "default")
        return taken

    taken = at_once(*[lambda conn=conn: toggle(conn) for conn in others])
    queues.resume(connection, "default")
    # What was not taken in between is all still there.
    assert sum(taken) + len(claim(connection, limit=50)) == 20
