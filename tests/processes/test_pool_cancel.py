"""Cancelling a job wherever it is."""

import time

from support.pool_fixtures import Shared
from support.tables import becomes, ended, look, put_one

from sql import jobs


def test_a_queued_job_is_cancelled_at_once_and_never_runs(shared: Shared) -> None:
    job_id = put_one(shared.connection, "note", run_at="2100-01-01T00:00:00Z")
    assert jobs.cancel(shared.connection, job_id) == "cancelled"
    assert (look(shared.connection, job_id).status, look(shared.connection, job_id).attempts) == ("cancelled", 0)
    assert shared.effects.all(jobs=[job_id]) == []


def test_a_running_handler_sees_its_cancel_within_two_seconds(shared: Shared) -> None:
    job_id = put_one(shared.connection, "gate", {"looks": True})
    shared.effects.wait_for("began", job_id)
    asked = time.monotonic()
    assert jobs.cancel(shared.connection, job_id) == "flagged"
    job = becomes(shared.connection, job_id, "cancelled")
    assert time.monotonic() - asked < 2
    assert job.attempts == 1
    assert shared.effects.all("ended", [job_id]) == []


def test_a_handler_that_finishes_first_keeps_its_own_end(shared: Shared) -> None:
    job_id = put_one(shared.connection, "gate")
    shared.effects.wait_for("began", job_id)
    assert jobs.cancel(shared.connection, job_id) == "flagged"
    shared.effects.open_gate(job_id)
    job = ended(shared.connection, job_id)
    assert (job.status, job.cancel_requested) == ("succeeded", False)


def test_a_cancelled_job_that_fails_is_not_tried_again(shared: Shared) -> None:
    job_id = put_one(shared.connection, "gate", {"fails": True})
    shared.effects.wait_for("began", job_id)
    assert jobs.cancel(shared.connection, job_id) == "flagged"
    shared.effects.open_gate(job_id)
    job = ended(shared.connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("cancelled", 1, "ValueError: no good")
