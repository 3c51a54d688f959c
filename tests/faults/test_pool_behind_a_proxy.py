"""A whole pool whose every connection goes through a proxy that cuts, freezes and slows them."""

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from faults.harness.proxy import Cut, Delay, Proxy, through
from faults.harness.wire import CLIENT, SERVER
from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import attempts, drained, put, running
from support.waiting import until

from sql.connection import Connection

SECONDS = 8.0
JOBS = 200
SEED = 5
# How far into the talk of all workers together the next cut lies.
FARTHEST = 60
SESSIONS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name ~ '^windlass (worker [0-9]+|steward)$'
    and backend_start > clock_timestamp() - make_interval(secs => %(seconds)s)
"""


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as made:
        yield made


@pytest.mark.long
def test_while_connections_are_cut_at_random_messages_each_job_ends_once(
    start_pool: StartPool, connection: Connection, effects: Effects, proxy: Proxy, database_url: str
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    pool = start_pool(database_url=through(proxy, database_url), worker_processes=3).ready()
    before = set(pool.everyone())
    ids: list[str] = []
    cuts = 0
    end_at = time.monotonic() + SECONDS
    while time.monotonic() < end_at:
        ids += put(connection, "note", *({"seconds": n % 2 * 0.002} for n in range(JOBS)), hint=cuts % 2 == 0)
        place = Cut(
            chance.choice((CLIENT, SERVER)), chance.randint(1, FARTHEST), chance.random() < 0.5, chance.random() < 0.5
        )
        watch = proxy.watch(place)
        until(watch.fired.is_set, 20, "a connection is cut")
        cuts += 1
    proxy.watch()
    assert drained(connection) == {"succeeded": len(ids)}
    runs = Counter(effect.job for effect in effects.all("ran"))
    again = sum(runs.values()) - len(ids)
    spent = sum(attempts(connection, ids)) - len(ids)
    print(f"{cuts} cuts, {len(ids)} jobs, {again} effects more, {spent} attempts more")
    # No process died and no lease was lost, so nothing had a reason to run twice, or to cost an attempt.
    assert (again, spent) == (0, 0)
    assert set(runs) == set(ids)
    assert running(connection) == 0
    assert set(pool.everyone()) == before


def connected_since(connection: Connection, moment: float) -> int:
    """How many of the pool's sessions were opened after `moment`, of `time.monotonic()`."""
    row = connection.fetch_one(SESSIONS, seconds=time.monotonic() - moment)
    assert row is not None
    return int(row[0])


def test_a_peer_that_keeps_the_connection_and_never_answers_is_noticed(
    start_pool: StartPool, connection: Connection, proxy: Proxy, database_url: str
) -> None:
    pool = start_pool(database_url=through(proxy, database_url), worker_processes=2).ready()
    workers = pool.registered()
    put(connection, "note", *({} for _ in range(20)))
    assert drained(connection) == {"succeeded": 20}
    assert proxy.freeze() >= 3
    frozen_at = time.monotonic()
    ids = put(connection, "note", *({"seconds": 0.01} for _ in range(100)))
    until(lambda: connected_since(connection, frozen_at) >= 3, 40, "steward and workers have new connections")
    print(f"noticed after {time.monotonic() - frozen_at:.1f} s")
    assert drained(connection) == {"succeeded": 120}
    assert set(pool.registered()) == set(workers)
    assert attempts(connection, ids) == [1] * 100


@pytest.mark.parametrize("milliseconds", [5, pytest.param(100, marks=pytest.mark.long)])
def test_over_a_slow_link_no_lease_ends_and_nothing_runs_twice(
    start_pool: StartPool,
    connection: Connection,
    effects: Effects,
    proxy: Proxy,
    database_url: str,
    milliseconds: int,
) -> None:
    pool = start_pool(database_url=through(proxy, database_url), worker_processes=2, lease_seconds=2).ready()
    proxy.watch(Delay(CLIENT, 1, milliseconds / 1000), Delay(SERVER, 1, milliseconds / 1000))
    ids: list[str] = []
    end_at = time.monotonic() + 3
    while time.monotonic() < end_at:
        ids += put(connection, "note", *({"seconds": 0.001} for _ in range(50)))
        assert drained(connection) == {"succeeded": len(ids)}
    assert len(effects.all("ran")) == len(ids)
    assert attempts(connection, ids) == [1] * len(ids)
    assert pool.metric("leases_expired_total") == 0
