"""How soon an idle pool sees work."""

import time

import pytest
from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import ended, look, put, put_one
from support.waiting import until

from sql.connection import Connection


def test_a_hint_wakes_an_idle_pool_long_before_it_polls(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    start_pool(poll_interval_ms=60_000).ready()
    for _ in range(10):
        put_at = time.monotonic()
        job_id = put_one(connection, "note")
        assert effects.wait_for("ran", job_id).at - put_at < 1
        ended(connection, job_id)


def all_idle(connection: Connection) -> bool:
    """No worker has looked for a quarter of a second: none has a scan to come yet, and all wait."""
    looked = connection.fetch_one(
        "select max(query_start) < clock_timestamp() - interval '0.25 seconds' from pg_stat_activity"
        " where application_name ~ '^windlass worker' and datname = current_database()"
    )
    return looked == (True,)


def all_have_just_worked(workers: int, connection: Connection, effects: Effects) -> None:
    """All go idle at one moment."""
    busy = [put_one(connection, "gate") for _ in range(workers)]
    for each in busy:
        effects.wait_for("began", each)
    for each in busy:
        effects.open_gate(each)
    for each in busy:
        ended(connection, each)
    until(lambda: all_idle(connection), message="all wait")


def test_without_a_hint_some_worker_finds_the_job_within_one_interval_of_the_pool(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_processes=8, poll_interval_ms=500).ready()
    for _ in range(3):
        all_have_just_worked(8, connection, effects)
        put_at = time.monotonic()
        job_id = put_one(connection, "note", hint=False)
        assert effects.wait_for("ran", job_id).at - put_at < 0.5 + 0.5
        ended(connection, job_id)


def test_who_finds_work_without_a_hint_wakes_the_others(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_processes=4, poll_interval_ms=1500).ready()
    until(lambda: all_idle(connection), message="all wait")
    long = put(connection, "gate", *[{}] * 4, hint=False)
    began = [effects.wait_for("began", each).at for each in long]
    # If one more found one in each interval, the last would begin four seconds after the first.
    assert max(began) - min(began) < 1
    for each in long:
        effects.open_gate(each)


def test_who_finds_work_in_one_queue_without_a_hint_has_the_others_look_in_the_rest(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    start_pool(worker_processes=2, worker_queues="first,second", poll_interval_ms=1500).ready()
    # Each would take more than one job.
    for each in put(connection, "note", *[{}] * 500, queue="first"):
        ended(connection, each)
    until(lambda: all_idle(connection), message="all wait")
    with connection.transaction():
        long = [put_one(connection, "gate", queue=queue, hint=False) for queue in ("first", "second")]
    began = [effects.wait_for("began", each).at for each in long]
    assert max(began) - min(began) < 1
    for each in long:
        effects.open_gate(each)


@pytest.mark.parametrize("hint", [True, False])
def test_a_scheduled_job_starts_at_its_time_and_not_before(
    start_pool: StartPool, connection: Connection, effects: Effects, hint: bool
) -> None:
    start_pool(poll_interval_ms=60_000 if hint else 200).ready()
    now = connection.fetch_one("select windlass.rfc3339(now() + interval '1.5 seconds')")
    assert now is not None
    job_id = put_one(connection, "note", run_at=now[0], hint=hint)
    job = ended(connection, job_id)
    late = connection.fetch_one(
        "select extract(epoch from d.started_at - j.run_at)::float8 from windlass.done as d"
        " join windlass.job_view as j using (id) where d.id = %(id)s::uuid",
        id=job_id,
    )
    assert late is not None
    assert 0 <= late[0] < 0.5
    assert look(connection, job_id).run_at == job.run_at == now[0]
    assert len(effects.all("ran", [job_id])) == 1


def test_higher_priority_goes_first(start_pool: StartPool, connection: Connection, effects: Effects) -> None:
    pool = start_pool(worker_processes=1).ready()
    busy = put_one(connection, "gate")
    effects.wait_for("began", busy)
    low, high, middle = (put_one(connection, "note", priority=priority) for priority in (-5, 9, 0))
    effects.open_gate(busy)
    for job_id in (low, high, middle):
        ended(connection, job_id)
    assert [effect.job for effect in effects.all("ran")] == [high, middle, low]
    assert not pool.ended


def test_a_paused_queue_hands_out_nothing(start_pool: StartPool, connection: Connection) -> None:
    connection.execute("insert into windlass.queues (name, paused_at) values ('paused', now())")
    start_pool(worker_queues="paused,default", poll_interval_ms=50).ready()
    held = put_one(connection, "note", queue="paused")
    for _ in range(5):
        ended(connection, put_one(connection, "note"))
    assert look(connection, held).status == "queued"
    connection.execute("update windlass.queues set paused_at = null where name = 'paused'")
    assert ended(connection, held).status == "succeeded"
