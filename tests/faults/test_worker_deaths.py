"""A handler that takes its process along, in every way there is."""

import os
import signal

import pytest
from support.effects import Effects
from support.pool_fixtures import Shared, StartPool
from support.tables import claims_under_way, ended, look, put, put_one, slow_down_claims
from support.waiting import until

from sql.connection import Connection

DEATHS = [
    ("kill -9", "killed by signal 9 (SIGKILL; possibly out of memory)"),
    ("os._exit(0)", "exited with code 0"),
    ("os._exit(1)", "exited with code 1"),
    ("os._exit(3)", "exited with code 3"),
    ("segmentation fault", "segmentation fault (signal 11)"),
    ("abort", "aborted (signal 6)"),
    ("stack overflow", "segmentation fault (signal 11)"),
]


@pytest.mark.parametrize(("how", "sentence"), DEATHS)
def test_the_job_of_a_dead_worker_runs_again_within_two_seconds(shared: Shared, how: str, sentence: str) -> None:
    job_id = put_one(shared.connection, "die", {"how": how, "times": 1})
    job = ended(shared.connection, job_id)
    first, second = shared.effects.all("began", [job_id])
    assert second.at - first.at < 2
    assert second.pid != first.pid
    assert second.fence > first.fence
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert f"(pid {first.pid}) {sentence} while running this job" in (job.last_error or "")
    shared.pool.ready()


@pytest.mark.parametrize(("how", "sentence"), DEATHS)
def test_a_poison_job_is_dead_after_max_attempts_and_the_pool_is_whole(shared: Shared, how: str, sentence: str) -> None:
    job_id = put_one(shared.connection, "die", {"how": how}, max_attempts=2)
    job = ended(shared.connection, job_id)
    assert (job.status, job.attempts) == ("failed_permanent", 2)
    assert sentence in (job.last_error or "")
    assert [effect.attempt for effect in shared.effects.all("began", [job_id])] == [1, 2]
    shared.pool.ready()


def test_a_worker_killed_from_outside_is_replaced_and_counted(shared: Shared) -> None:
    pool = shared.pool
    crashed = pool.metric("worker_restarts_total", cause="crashed")
    victim = pool.workers()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in pool.workers() and len(pool.registered()) == 2)
    assert pool.metric("worker_restarts_total", cause="crashed") == crashed + 1
    until(lambda: pool.metric("worker_processes") == 2)


def test_batch_mates_of_a_killed_job_lose_no_attempt_and_run(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    # Once the worker knows that they are quick it takes many at once.
    for job_id in put(connection, "die", *({} for _ in range(40))):
        ended(connection, job_id)
    before, poison, *after = put(connection, "die", {}, {"how": "kill -9"}, *({} for _ in range(20)), max_attempts=2)
    assert ended(connection, poison).status == "failed_permanent"
    mates = [ended(connection, job_id) for job_id in (before, *after)]
    assert {(mate.status, mate.attempts, mate.last_error) for mate in mates} == {("succeeded", 1, None)}
    assert [len(effects.all("ran", [mate.id])) for mate in mates] == [1] * 21
    released = pool.metric("worker_jobs_completed_total", kind="die", outcome="released")
    assert released > 0, "the mates were not claimed together with the poison"


def test_a_claim_that_the_server_carries_out_after_its_worker_was_killed_costs_no_attempt(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    slow_down_claims(connection)
    pool = start_pool(worker_processes=1).ready()
    [worker] = pool.workers()
    job_id = put_one(connection, "note")
    until(lambda: claims_under_way(connection), message="the claim is under way")
    os.kill(worker, signal.SIGKILL)
    until(lambda: look(connection, job_id).status == "running", message="it is carried out all the same")
    job = ended(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("succeeded", 1, None)
    [effect] = effects.all("ran", [job_id])
    assert effect.pid != worker
