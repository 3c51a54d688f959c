"""Many workers on one queue."""

from collections import Counter

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import attempts, counts, drained, put, put_one
from support.waiting import until

from sql.connection import Connection


def test_of_2000_jobs_among_8_processes_each_runs_exactly_once_and_is_counted(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=8, worker_prefetch=50)
    ids = put(connection, "note", *({"n": n} for n in range(1000)))
    pool.ready()
    ids += put(connection, "note", *({"n": n} for n in range(1000)))
    put_one(connection, "throw", {"what": "Dead"})
    put_one(connection, "throw", {"what": "ValueError", "times": 1})
    assert drained(connection) == {"succeeded": 2001, "failed_permanent": 1}
    ran = effects.all("ran")
    assert Counter(effect.job for effect in ran) == Counter(ids)
    assert len({effect.fence for effect in ran}) == 2000
    assert len({effect.pid for effect in ran}) > 1, "one worker did it all"
    assert set(attempts(connection, ids)) == {1}
    # What a worker wrote it counts a moment later.
    until(lambda: pool.metric("worker_jobs_completed_total", outcome="succeeded") == counts(connection)["succeeded"])
    assert pool.metric("worker_jobs_completed_total", outcome="failed_permanent") == 1
    assert pool.metric("worker_jobs_completed_total", outcome="retrying") == 1
    assert pool.metric("worker_jobs_started_total") == 2003
    assert pool.metric("worker_job_duration_seconds_count", kind="note") == 2000
    assert pool.metric("worker_job_wait_seconds_count", kind="throw") == 3
    assert pool.metric("worker_processes") == 8
    until(lambda: pool.metric("worker_jobs_in_flight") == 0)
