"""Workers that have done enough are replaced, and nobody notices."""

import secrets
from collections import Counter

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import attempts, drained, ended, put, put_one
from support.waiting import until

from sql.connection import Connection


def test_a_worker_is_replaced_after_its_number_of_jobs_and_no_job_is_lost(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_max_jobs=7).ready()
    ids = put(connection, "note", *({} for _ in range(70)))
    assert drained(connection) == {"succeeded": 70}
    assert set(attempts(connection, ids)) == {1}
    ran = effects.all("ran")
    assert Counter(effect.job for effect in ran) == Counter(ids)
    assert max(Counter(effect.pid for effect in ran).values()) == 7
    pool.ready()
    until(lambda: pool.metric("worker_restarts_total", cause="recycled") >= 9)
    assert pool.metric("worker_restarts_total", cause="crashed") == 0


def test_a_worker_that_grew_too_large_is_replaced_after_its_job(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1, worker_max_rss_mb=150).ready()
    small = put(connection, "grow", {"mb": 1}, {"mb": 1})
    assert drained(connection) == {"succeeded": 2}
    large = put(connection, "grow", {"mb": 150}, {"mb": 1})
    assert drained(connection) == {"succeeded": 4}
    [first], [second], [third], [fourth] = (effects.all("ran", [job_id]) for job_id in (*small, *large))
    assert first.pid == second.pid == third.pid != fourth.pid
    assert set(attempts(connection, (*small, *large))) == {1}
    assert pool.metric("worker_restarts_total", cause="recycled") == 1


def test_a_right_that_is_missing_for_a_while_is_waited_out_by_workers_that_start_meanwhile(
    start_pool: StartPool, connection: Connection
) -> None:
    job_id = put_one(connection, "note")
    role = f"poor_{secrets.token_hex(4)}"
    [(database,)] = connection.fetch_all("select current_database()::text")
    connection.execute(f"create role {role}")
    try:
        connection.execute(f'alter database "{database}" set role = {role}')
        pool = start_pool()
        until(lambda: pool.said("permission denied") >= 3, message="all three wait")
        workers = pool.workers()
        connection.execute(f"alter role {role} superuser")
        assert ended(connection, job_id).status == "succeeded"
        assert pool.workers() == workers
        assert pool.stop() == 0
    finally:
        connection.execute(f'alter database "{database}" reset role')
        connection.execute(f"drop role {role}")
