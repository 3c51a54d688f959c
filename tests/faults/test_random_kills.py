"""Workers killed at random instants while they work through many quick jobs."""

import os
import random
import signal
import statistics
import time
from collections import Counter

from support.effects import Effects
from support.pool import Pool
from support.pool_fixtures import StartPool
from support.tables import attempts, drained, put, running
from support.waiting import until

from sql.connection import Connection

KILLS = 30
JOBS = 100
WORKERS = 4


def kill_one(pool: Pool) -> int:
    """A worker that works, at some instant of its work."""
    victim = random.choice(list(until(pool.registered)))
    os.kill(victim, signal.SIGKILL)
    return victim


def test_no_job_is_lost_and_none_runs_more_often_than_it_was_claimed(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=WORKERS).ready()
    ids: list[str] = []
    recoveries = []
    for _ in range(KILLS):
        ids += put(connection, "note", *({"seconds": n % 2 * 0.003} for n in range(JOBS)), max_attempts=50)
        pause_until = time.monotonic() + random.uniform(0.0, 0.06)
        until(lambda end=pause_until: time.monotonic() >= end)
        victim = kill_one(pool)
        killed_at = time.monotonic()
        until(lambda gone=victim: len(set(pool.registered()) - {gone}) == WORKERS, message="the pool is whole again")
        recoveries.append(time.monotonic() - killed_at)
    assert drained(connection) == {"succeeded": len(ids)}
    effects_of = Counter(effect.job for effect in effects.all("ran"))
    fences = Counter((effect.job, effect.fence) for effect in effects.all("ran"))
    claims = attempts(connection, ids)
    assert all(1 <= effects_of[job_id] <= claimed for job_id, claimed in zip(ids, claims, strict=True))
    assert max(fences.values()) == 1, "one claim ran twice"
    # A kill can hit one handler between its effect and the board, no more.
    assert sum(effects_of.values()) - len(ids) <= KILLS
    crashes = sum(claims) - len(ids)
    assert crashes <= KILLS
    assert running(connection) == 0
    # Of what a worker had written and not yet counted when it was killed nothing can be known.
    uncounted = len(ids) - pool.metric("worker_jobs_completed_total", outcome="succeeded")
    assert 0 <= uncounted <= KILLS * JOBS
    again = sum(effects_of.values()) - len(ids)
    print(
        f"{KILLS} kills, {len(ids)} jobs: {crashes} hit a job, {again} effects more, {uncounted:g} jobs uncounted,"
        f" whole again after {statistics.median(recoveries):.3f} s, at most {max(recoveries):.3f} s"
    )
    assert max(recoveries) < 5
