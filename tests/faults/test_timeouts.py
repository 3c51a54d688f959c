"""Handlers that outrun their time."""

import pytest
from support.pool_fixtures import Shared
from support.tables import becomes, ended, put_one


@pytest.mark.parametrize("how", ["sleeps", "cleans up", "a regular expression"])
def test_a_handler_is_interrupted_at_its_deadline_and_its_worker_lives_on(shared: Shared, how: str) -> None:
    workers = shared.pool.registered()
    job = ended(shared.connection, put_one(shared.connection, "stick", {"how": how}, timeout=1, max_attempts=1))
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 1, "timed out after 1 s")
    assert shared.pool.registered() == workers


def test_a_job_that_timed_out_is_tried_again(shared: Shared) -> None:
    job_id = put_one(shared.connection, "stick", {"how": "sleeps", "times": 1}, timeout=1)
    job = ended(shared.connection, job_id)
    first, second = shared.effects.all("began", [job_id])
    assert (job.status, job.attempts, job.last_error) == ("succeeded", 2, "timed out after 1 s")
    assert 1 <= second.at - first.at < 2


def test_a_handler_that_ends_within_a_second_of_its_deadline_keeps_its_own_end(shared: Shared) -> None:
    workers = shared.pool.registered()
    job = ended(shared.connection, put_one(shared.connection, "stick", {"how": "swallows it once"}, timeout=1))
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert shared.pool.registered() == workers


@pytest.mark.parametrize("how", ["swallows everything", "deep in C", "signals blocked"])
def test_a_handler_that_nothing_interrupts_is_killed_and_the_pool_is_whole(shared: Shared, how: str) -> None:
    pool = shared.pool
    timeouts = pool.metric("worker_restarts_total", cause="timeout")
    job_id = put_one(shared.connection, "stick", {"how": how}, timeout=1, max_attempts=1)
    began = shared.effects.wait_for("began", job_id)
    job = becomes(shared.connection, job_id, "failed_permanent", 4)
    assert job.attempts == 1
    assert f"(pid {began.pid}) killed after its deadline while running this job" in (job.last_error or "")
    assert began.pid not in pool.ready().workers()
    assert pool.metric("worker_restarts_total", cause="timeout") == timeouts + 1
