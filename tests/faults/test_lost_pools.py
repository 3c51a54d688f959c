"""The death of those who look after others: the supervisor, the steward, the whole host."""

import os
import signal
import time

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.processes import kill_all_at_once
from support.tables import becomes, ended, look, put_one
from support.waiting import until

from sql.connection import Connection


def test_a_killed_supervisor_leaves_nobody_after_a_second_and_its_jobs_run_again(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool().ready()
    other = start_pool().ready()
    busy = [put_one(connection, "gate") for _ in range(4)]
    began = [effects.wait_for("began", job_id) for job_id in busy]
    lost = [effect.job for effect in began if effect.pid in pool.workers()]
    assert len(lost) == 2
    pool.send(signal.SIGKILL)
    killed_at = time.monotonic()
    until(lambda: not pool.everyone(), 1.0, "all its children are gone")
    for job_id in lost:
        job = becomes(connection, job_id, "retrying", 1)
        assert job.attempts == 1
        assert "killed with its supervisor while running this job" in (job.last_error or "")
    for job_id in busy:
        effects.open_gate(job_id)
    for job_id in busy:
        assert ended(connection, job_id).status == "succeeded"
    again = [effects.wait_for("began", job_id, times=2) for job_id in lost]
    assert {effect.pid for effect in again} <= set(other.workers())
    assert max(effect.at for effect in again) - killed_at < 5


def test_a_killed_steward_is_replaced_and_leases_go_on(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    lease = 2
    pool = start_pool(lease_seconds=lease, worker_processes=1).ready()
    job_id = put_one(connection, "gate", {"looks": True})
    began = effects.wait_for("began", job_id)
    while time.monotonic() - began.at < 2 * lease:
        heard = pool.stewards()
        os.kill(pool.steward(), signal.SIGKILL)
        until(lambda heard=heard: pool.stewards() > heard, message="a new steward is at work")
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert len(effects.all("began", [job_id])) == 1
    assert pool.metric("leases_expired_total") == 0


def test_a_steward_that_hangs_is_replaced(start_pool: StartPool, connection: Connection, effects: Effects) -> None:
    pool = start_pool(worker_processes=1).ready()
    hung = pool.steward()
    os.kill(hung, signal.SIGSTOP)
    until(lambda: hung not in pool.everyone(), 12, "the supervisor kills it")
    until(lambda: pool.stewards() == 2, message="another is at work")
    effects.wait_for("ran", put_one(connection, "note"))


def test_the_jobs_of_a_lost_host_are_back_within_the_lease_and_five_seconds(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    lease = 2
    lost = start_pool(lease_seconds=lease, worker_processes=1).ready()
    job_id = put_one(connection, "gate")
    effects.wait_for("began", job_id)
    other = start_pool(lease_seconds=lease, worker_processes=1).ready()
    lost_pids = lost.everyone()
    assert len(lost_pids) == 3
    kill_all_at_once(lost_pids)
    killed_at = time.monotonic()
    again = effects.wait_for("began", job_id, times=2)
    assert again.at - killed_at < lease + 5
    assert again.pid in other.workers()
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert job.last_error == "worker lost: its heartbeat stopped"


def test_without_supervisor_and_steward_the_workers_die_too_and_their_jobs_are_rescued(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    lease = 2
    lost = start_pool(lease_seconds=lease).ready()
    job_id = put_one(connection, "gate")
    effects.wait_for("began", job_id)
    kill_all_at_once([lost.process.pid, lost.steward()])
    killed_at = time.monotonic()
    until(lambda: not lost.everyone(), 1.0, "the kernel took the workers along")
    assert look(connection, job_id).status == "running"
    start_pool(lease_seconds=lease)
    again = effects.wait_for("began", job_id, times=2)
    assert again.at - killed_at < lease + 5
    effects.open_gate(job_id)
    assert ended(connection, job_id).attempts == 2
