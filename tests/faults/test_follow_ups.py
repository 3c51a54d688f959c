"""Both or neither, whatever ends around the moment in which a job and its follow-ups are written."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database import Databases, open_connection
from support.effects import Effects
from support.pool import start_pools
from support.pool_fixtures import StartPool
from support.server import embedded
from support.tables import drained, ended, follow_ups, look, put, put_one
from support.waiting import until
from support.work import lose

from sql.connection import Connection

KILLS = 20
JOBS = 80
WORKERS = 3

# The ack is made and its transaction open while this sleeps.
SLOW_ENQUEUE = """
create function slow_down() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return new; end $$;
create trigger slow before insert on windlass.jobs for each row when (new.kind = 'note') execute function slow_down();
"""
# COMMIT has been sent while this sleeps.
SLOW_COMMIT = """
create function slow_down() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return new; end $$;
create constraint trigger slow after insert on windlass.jobs deferrable initially deferred
for each row when (new.kind = 'note') execute function slow_down();
"""
SLEEPING = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"


def the_sleeping(connection: Connection) -> int:
    """The backend in the middle of writing."""
    row = until(lambda: connection.fetch_one(SLEEPING), message="the end is being written")
    return int(row[0])


def follow(connection: Connection, notes: int = 2, **payload: object) -> str:
    return put_one(connection, "follow", {"notes": [{"queue": "elsewhere"}] * notes, **payload})


def test_of_a_worker_killed_before_the_commit_neither_is_there_and_then_both_once(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    connection.execute(SLOW_ENQUEUE)
    job_id = follow(connection)
    the_sleeping(connection)
    os.kill(next(iter(pool.registered())), signal.SIGKILL)
    assert (look(connection, job_id).status, follow_ups(connection, job_id)) == ("running", [])
    effects.wait_for("began", job_id, 2)
    connection.execute("drop trigger slow on windlass.jobs")
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert len(follow_ups(connection, job_id)) == 2


def test_of_a_worker_killed_in_the_commit_both_are_there(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    connection.execute(SLOW_COMMIT)
    job_id = follow(connection)
    the_sleeping(connection)
    os.kill(next(iter(pool.registered())), signal.SIGKILL)
    job = ended(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("succeeded", 1, None)
    assert len(follow_ups(connection, job_id)) == 2
    pool.ready()
    assert len(effects.all("began", [job_id])) == 1


@pytest.mark.parametrize("slow", [SLOW_ENQUEUE, SLOW_COMMIT], ids=["before the commit", "in the commit"])
def test_a_connection_that_breaks_costs_nothing_and_writes_both_once(
    start_pool: StartPool, connection: Connection, effects: Effects, slow: str
) -> None:
    start_pool(worker_processes=1).ready()
    connection.execute(slow)
    job_id = follow(connection)
    backend = the_sleeping(connection)
    connection.execute("select pg_terminate_backend(%(pid)s)", pid=backend)
    job = ended(connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert len(follow_ups(connection, job_id)) == 2
    assert len(effects.all("began", [job_id])) == 1


def test_a_lost_lease_writes_neither(start_pool: StartPool, connection: Connection, effects: Effects) -> None:
    pool = start_pool(worker_processes=2).ready()
    job_id = follow(connection, waits=True)
    first = effects.wait_for("enqueued", job_id)
    lose(connection, pool.registered()[first.pid])
    second = effects.wait_for("enqueued", job_id, 2)
    effects.open_gate(job_id, attempt=1)
    until(lambda: pool.said(f"lease lost: job {job_id}"), message="the first attempt is refused")
    assert (look(connection, job_id).status, follow_ups(connection, job_id)) == ("running", [])
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts, second.attempt) == ("succeeded", 2, 2)
    assert len(follow_ups(connection, job_id)) == 2


def test_workers_killed_at_random_leave_each_job_with_its_follow_ups_or_without(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=WORKERS).ready()
    ids: list[str] = []
    for _ in range(KILLS):
        ids += put(connection, "follow", *({"notes": [{}, {}]} for _ in range(JOBS)), max_attempts=50)
        pause_until = time.monotonic() + random.uniform(0.0, 0.1)
        until(lambda end=pause_until: time.monotonic() >= end)
        victim = random.choice(list(until(pool.registered)))
        os.kill(victim, signal.SIGKILL)
        until(lambda gone=victim: len(set(pool.registered()) - {gone}) == WORKERS, message="the pool is whole again")
        assert_both_or_neither(connection)
    assert drained(connection, 60) == {"succeeded": 3 * len(ids)}
    assert_both_or_neither(connection)
    again = len(effects.all("enqueued")) - len(ids)
    runs = Counter(effect.job for effect in effects.all("enqueued"))
    print(f"{KILLS} kills, {len(ids)} jobs, {again} runs more than jobs, at most {max(runs.values())} of one")
    assert again > 0, "no kill hit a job between its enqueue and its end: this proves little"


def assert_both_or_neither(connection: Connection) -> None:
    half = connection.fetch_all(
        """
        select j.id, d.status, count(f.id)
        from windlass.jobs as j
        left join windlass.done as d on d.id = j.id
        left join windlass.jobs as f on f.payload->>'of' = j.id::text
        where j.kind = 'follow'
        group by j.id, d.status
        having count(f.id) <> case when d.status = 'succeeded' then 2 else 0 end
        """
    )
    assert half == []


@pytest.fixture
def waiting_for_a_standby(tmp_path: Path, effects: Effects) -> Iterator[tuple[StartPool, Connection]]:
    """Pools and a connection on a server whose settings may be changed."""
    server = embedded()
    databases = Databases(server.url)
    with databases.migrated() as url:
        start, end = start_pools(url, tmp_path, effects)
        connection = open_connection(url)
        yield start, connection
        set_standby(connection, "")
        end()
        connection.close()
    databases.close()
    server.close()


def set_standby(connection: Connection, name: str) -> None:
    connection.execute(f"alter system set synchronous_standby_names = '{name}'")
    connection.execute("select pg_reload_conf()")
    until(lambda: connection.fetch_one("show synchronous_standby_names") == (name,), message="the setting is read")


def test_a_commit_whose_answer_is_lost_is_sent_again_and_writes_both_once(
    waiting_for_a_standby: tuple[StartPool, Connection], effects: Effects
) -> None:
    start_pool, connection = waiting_for_a_standby
    start_pool(worker_processes=1).ready()
    job_id = follow(connection, waits=True)
    effects.wait_for("enqueued", job_id)
    # Nobody is that standby: the commit is on disk, and its answer never comes.
    set_standby(connection, "nobody")
    effects.open_gate(job_id)
    waiting = (
        "select pid from pg_stat_activity where wait_event = 'SyncRep' and application_name like 'windlass worker%%'"
    )
    row = until(lambda: connection.fetch_one(waiting + " and %(any)s", any=True), message="the commit waits")
    connection.execute("select pg_terminate_backend(%(pid)s)", pid=row[0])
    until(lambda: look(connection, job_id).status == "succeeded", message="it is there all the same")
    set_standby(connection, "")
    marker = follow(connection, 0)
    assert ended(connection, marker).status == "succeeded"
    assert look(connection, job_id).attempts == 1
    assert len(follow_ups(connection, job_id)) == 2
