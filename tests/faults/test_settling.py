"""Writing outcomes while the database is slow, or refuses one of them."""

from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import ended, look, put, put_one
from support.waiting import until

from sql.connection import Connection

SLOW_FAILURES = """
create function slow_down() returns trigger language plpgsql as $$ begin perform pg_sleep(3); return new; end $$;
create trigger slow before insert on windlass.failures for each row execute function slow_down();
"""
REFUSE = "alter table windlass.done add constraint refuses check (result <> '\"refused\"')"


def test_a_worker_that_waits_to_write_a_failure_is_not_killed_at_the_jobs_deadline(
    start_pool: StartPool, connection: Connection
) -> None:
    connection.execute(SLOW_FAILURES)
    pool = start_pool(worker_processes=1).ready()
    workers = pool.registered()
    job = ended(connection, put_one(connection, "throw", {"what": "ValueError"}, timeout=1, max_attempts=1))
    assert (job.status, job.last_error) == ("failed_permanent", "ValueError: no good")
    assert pool.registered() == workers


def test_a_result_the_database_refuses_holds_back_neither_neighbours_nor_worker(
    start_pool: StartPool, connection: Connection
) -> None:
    connection.execute(REFUSE)
    pool = start_pool(worker_processes=1).ready()
    workers = pool.registered()
    for job_id in put(connection, "note", *({} for _ in range(40))):
        ended(connection, job_id)
    before, refused, after = put(connection, "note", {"result": 1}, {"result": "refused"}, {"result": 2})
    assert [ended(connection, job_id).result for job_id in (before, after)] == ["1", "2"]
    job = ended(connection, refused)
    assert (job.status, job.attempts) == ("failed_permanent", 1)
    assert (job.last_error or "").startswith("the result cannot be stored")
    assert pool.registered() == workers


def test_a_refused_result_of_a_dead_worker_stops_neither_its_neighbours_nor_the_steward(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    connection.execute(REFUSE)
    pool = start_pool(worker_processes=1).ready()
    steward = pool.steward()
    for job_id in put(connection, "die", *({} for _ in range(40))):
        ended(connection, job_id)
    with connection.transaction():
        finished = put(connection, "die", {}, {"result": "refused"}, {}, max_attempts=1)
        poison = put_one(connection, "die", {"how": "os._exit(1)"}, max_attempts=1)
    assert ended(connection, poison).status == "failed_permanent"
    statuses = [ended(connection, job_id).status for job_id in finished]
    assert statuses == ["succeeded", "failed_permanent", "succeeded"]
    assert [len(effects.all("ran", [job_id])) for job_id in finished] == [1, 1, 1]
    until(lambda: pool.metric("worker_jobs_completed_total", kind="die") == 44)
    assert pool.steward() == steward
    assert look(connection, finished[1]).attempts == 1
