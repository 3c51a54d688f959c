"""Processes that are stopped longer than their lease, and come back."""

import os
import signal
import time
from collections.abc import Callable

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.processes import alive
from support.tables import claims_under_way, ended, look, put, put_one, slow_down_claims
from support.waiting import until

from sql.connection import Connection

LEASE = 2
WAITING = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name ~ '^windlass worker' and wait_event_type = 'Lock'
"""


def test_a_job_of_a_stopped_worker_is_rescued_and_the_late_settle_is_refused(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(lease_seconds=LEASE).ready()
    job_id = put_one(connection, "gate")
    first = effects.wait_for("began", job_id)
    identity = pool.registered()[first.pid]
    os.kill(first.pid, signal.SIGSTOP)
    stopped_at = time.monotonic()
    second = effects.wait_for("began", job_id, times=2)
    assert LEASE * 0.5 < second.at - stopped_at < LEASE + 5
    assert second.pid != first.pid
    assert pool.metric("leases_expired_total") == 1
    # It wakes, finishes what it held, and is refused.
    effects.open_gate(job_id, attempt=1)
    os.kill(first.pid, signal.SIGCONT)
    effects.wait_for("ended", job_id)
    until(lambda: pool.metric("settles_refused_total") == 1, message="the stale settle is refused and counted")
    assert (look(connection, job_id).status, look(connection, job_id).attempts) == ("running", 2)
    # It goes on under a new identity: the other worker is busy, so this one runs the next job.
    until(lambda: pool.registered().get(first.pid, identity) != identity, message="it registers again")
    assert effects.wait_for("ran", put_one(connection, "note")).pid == first.pid
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert job.result == '{"attempt": 2}'
    assert job.last_error == "worker lost: its heartbeat stopped"


def test_a_handler_that_looks_stops_when_its_lease_is_lost_and_its_job_is_not_cancelled(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(lease_seconds=LEASE).ready()
    job_id = put_one(connection, "gate", {"looks": True})
    first = effects.wait_for("began", job_id)
    os.kill(first.pid, signal.SIGSTOP)
    effects.wait_for("began", job_id, times=2)
    os.kill(first.pid, signal.SIGCONT)
    until(lambda: pool.metric("settles_refused_total") == 1, message="it stopped, and was refused")
    assert look(connection, job_id).status == "running"
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts, job.result) == ("succeeded", 2, '{"attempt": 2}')
    assert [effect.attempt for effect in effects.all("ended", [job_id])] == [2]


def test_a_job_whose_worker_stops_itself_for_a_lost_lease_is_given_back_and_not_cancelled(
    start_pool: StartPool, connection: Connection, open_another: Callable[[], Connection], effects: Effects
) -> None:
    start_pool(lease_seconds=LEASE, worker_processes=1).ready()
    job_id = put_one(connection, "gate", {"looks": True})
    effects.wait_for("began", job_id)
    other = open_another()
    with other.transaction():
        # Nobody rescues a row that is locked: so the worker itself is the first to settle it.
        other.execute("select from windlass.running for update")
        connection.execute("update windlass.workers set lost_at = now()")
        until(lambda: connection.fetch_one(WAITING) == (1,), message="the worker saw it and settles")
    effects.wait_for("began", job_id, times=2)
    effects.open_gate(job_id)
    assert ended(connection, job_id).status == "succeeded"


def test_a_claim_whose_worker_is_stopped_before_it_hears_of_it_is_still_its_own(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    slow_down_claims(connection)
    pool = start_pool().ready()
    # While another works the steward looks every second.
    busy = put_one(connection, "gate")
    [worker] = set(pool.workers()) - {effects.wait_for("began", busy).pid}
    job_id = put_one(connection, "note")
    until(lambda: claims_under_way(connection), message="the claim is under way")
    os.kill(worker, signal.SIGSTOP)
    until(lambda: look(connection, job_id).status == "running", message="it is carried out")
    looked_at = time.monotonic() + 2.2
    until(lambda: time.monotonic() > looked_at and look(connection, job_id).status == "running", 5)
    os.kill(worker, signal.SIGCONT)
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert len(effects.all("ran", [job_id])) == 1
    assert pool.metric("settles_refused_total") == 0
    effects.open_gate(busy)
    ended(connection, busy)


def test_a_pool_frozen_past_its_lease_starts_nothing_when_it_thaws(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    frozen = start_pool(lease_seconds=LEASE, worker_processes=1).ready()
    for job_id in put(connection, "gate", *({"waits": False} for _ in range(40))):
        ended(connection, job_id)
    slow, *behind = put(connection, "gate", {}, *({"waits": False} for _ in range(5)))
    stale = effects.wait_for("began", slow)
    steward = frozen.steward()
    frozen.send_group(signal.SIGSTOP)
    start_pool(lease_seconds=LEASE, worker_processes=1)
    effects.wait_for("began", slow, times=2)
    effects.open_gate(slow)
    for job_id in (slow, *behind):
        assert ended(connection, job_id).status == "succeeded"
    # Only the worker thaws: nobody but itself can tell it that its lease is over.
    os.kill(stale.pid, signal.SIGCONT)
    until(lambda: frozen.said("lease lost"), message="its settle is refused")
    os.kill(steward, signal.SIGCONT)
    frozen.send(signal.SIGCONT)
    until(lambda: len(frozen.registered()) == 1, message="it registers again")
    assert 2 in {effect.attempt for effect in effects.all("began", behind)}, "none was claimed with the slow one"
    assert stale.pid not in {effect.pid for effect in effects.all(jobs=behind)}
    assert alive(stale.pid)


def test_what_a_stopped_worker_had_finished_is_not_run_again(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    for job_id in put(connection, "gate", *({"waits": False} for _ in range(40))):
        ended(connection, job_id)
    finished, slow = put(connection, "gate", {"waits": False}, {})
    worker = effects.wait_for("began", slow).pid
    os.kill(worker, signal.SIGSTOP)
    job = ended(connection, finished)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert look(connection, slow).status == "running"
    os.kill(worker, signal.SIGCONT)
    effects.open_gate(slow)
    assert ended(connection, slow).attempts == 1
    assert [effect.what for effect in effects.all(jobs=[finished])] == ["began", "ended"]
    until(lambda: pool.metric("worker_jobs_completed_total", outcome="succeeded") >= 42)
    assert pool.metric("worker_jobs_completed_total", outcome="succeeded") == 42
