"""Jobs that one worker took together."""

import time

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import becomes, ended, look, put
from support.waiting import until

from sql import jobs
from sql.connection import Connection

QUICK = {"waits": False}


def know_that_they_are_quick(connection: Connection) -> None:
    """Then a worker takes many at once."""
    for job_id in put(connection, "gate", *(QUICK for _ in range(40))):
        ended(connection, job_id)


def test_what_waits_behind_a_slow_job_is_run_by_another_worker_within_two_seconds(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1, poll_interval_ms=50).ready()
    know_that_they_are_quick(connection)
    # It hears of work only from those who give some back.
    other = start_pool(worker_processes=1, poll_interval_ms=60_000).ready()
    put_at = time.monotonic()
    slow, *behind = put(connection, "gate", {}, *(QUICK for _ in range(20)), hint=False)
    busy = effects.wait_for("began", slow).pid
    until(lambda: all(look(connection, job_id).status == "succeeded" for job_id in behind), 3)
    ran = effects.all("ended", behind)
    assert busy in pool.workers()
    assert {effect.pid for effect in ran} == set(other.workers())
    assert max(effect.at for effect in ran) - put_at < 2
    assert [look(connection, job_id).attempts for job_id in behind] == [1] * 20
    assert pool.metric("worker_jobs_completed_total", outcome="released") > 0, "none was claimed with the slow one"
    effects.open_gate(slow)
    job = ended(connection, slow)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert len(effects.all("ended", behind)) == 20


def test_what_was_finished_before_a_slow_job_is_written_while_it_runs(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    know_that_they_are_quick(connection)
    *before, slow = put(connection, "gate", QUICK, QUICK, {})
    for job_id in before:
        job = becomes(connection, job_id, "succeeded", 2)
        assert (job.attempts, job.result) == (1, '{"attempt": 1}')
    assert look(connection, slow).status == "running"
    effects.open_gate(slow)
    assert ended(connection, slow).status == "succeeded"
    until(lambda: pool.metric("worker_jobs_completed_total", outcome="succeeded") == 43)
    assert pool.metric("settles_refused_total") == 0


def test_a_claimed_job_that_has_not_started_is_cancelled_and_never_runs(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_processes=1).ready()
    know_that_they_are_quick(connection)
    slow, unwanted, wanted = put(connection, "gate", {}, QUICK, QUICK)
    effects.wait_for("began", slow)
    assert jobs.cancel(connection, unwanted) == "flagged", "it was claimed with the slow one"
    job = becomes(connection, unwanted, "cancelled", 3)
    assert job.attempts == 0
    effects.open_gate(slow)
    assert ended(connection, wanted).status == "succeeded"
    assert effects.all(jobs=[unwanted]) == []


def test_finished_jobs_of_a_killed_worker_are_not_run_again(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_processes=1).ready()
    know_that_they_are_quick(connection)
    *finished, poison = [
        *put(connection, "die", *({} for _ in range(40))),
        *put(connection, "die", *({} for _ in range(10)), {"how": "os._exit(1)"}, max_attempts=1),
    ]
    assert ended(connection, poison).status == "failed_permanent"
    for job_id in finished:
        job = ended(connection, job_id)
        assert (job.status, job.attempts) == ("succeeded", 1)
    assert [len(effects.all("ran", [job_id])) for job_id in finished] == [1] * 50
