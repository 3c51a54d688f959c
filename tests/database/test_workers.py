"""Workers: an identity that is never used again, a heartbeat that is the lease, and when it counts as lost."""

from collections.abc import Callable

from support.waiting import until
from support.work import Meanwhile, add, claim_one, count, lose, past, register

from sql import leases, workers
from sql.connection import Connection

Opener = Callable[[], Connection]
HOUR = 3600.0


def server_seconds(conn: Connection) -> float:
    """How long ago the server started."""
    row = conn.fetch_one("select extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float8")
    assert row is not None
    return float(row[0])


def test_an_incarnation_is_a_row_with_all_that_was_said_of_it(connection: Connection) -> None:
    worker = workers.register(connection, name="host/3", host="host", pid=4711, pool="host/1", slot=3, lease_seconds=30)
    row = connection.fetch_one(
        "select id, name, host, pid, pool, slot, lost_at, heartbeat_at = started_at from windlass.workers"
    )
    assert row == (worker, "host/3", "host", 4711, "host/1", 3, None, True)


def test_no_identity_is_used_twice(connection: Connection) -> None:
    ids = [register(connection) for _ in range(3)]
    connection.execute("delete from windlass.workers")
    ids += [register(connection) for _ in range(3)]
    assert ids == sorted(set(ids))


def test_a_beat_is_answered_by_those_that_are_not_lost(connection: Connection) -> None:
    alive, lost, unasked = (register(connection) for _ in range(3))
    lose(connection, lost)
    past(connection, "workers", "heartbeat_at", HOUR)
    assert workers.beat(connection, [alive, lost, 4711]) == {alive}
    fresh = "select id from windlass.workers where heartbeat_at > now() - interval '1 minute'"
    assert connection.fetch_all(fresh) == [(alive,)]
    assert workers.beat(connection, [unasked]) == {unasked}
    assert workers.beat(connection, []) == set()


def test_a_worker_not_beaten_for_its_lease_is_lost_and_stays_so(connection: Connection) -> None:
    lease = server_seconds(connection) / 2
    stopped = register(connection, lease_seconds=lease)
    past(connection, "workers", "heartbeat_at", HOUR)
    with connection.transaction():
        # Here it is still the instant of the beat, however slow the machine.
        alive = register(connection, lease_seconds=lease)
        assert workers.mark_lost(connection) == [stopped]
        assert workers.mark_lost(connection) == []
    assert workers.beat(connection, [stopped, alive]) == {alive}


def test_it_is_the_workers_own_lease_that_counts(connection: Connection) -> None:
    # Pools with different leases on one database must not take each other's living workers for lost.
    up = server_seconds(connection)
    patient, hasty = register(connection, lease_seconds=2 * up), register(connection, lease_seconds=up / 4)
    past(connection, "workers", "heartbeat_at", up / 2)
    assert workers.mark_lost(connection) == [hasty]
    assert workers.beat(connection, [patient, hasty]) == {patient}


def test_within_one_lease_of_a_server_start_nobody_is_lost(connection: Connection) -> None:
    # The outage kept the stewards from beating. A lease longer than the server has run is a server just started.
    up = server_seconds(connection)
    waits, lost = register(connection, lease_seconds=up + 60), register(connection, lease_seconds=up / 2)
    past(connection, "workers", "heartbeat_at", 365 * 86400)
    assert workers.mark_lost(connection) == [lost]
    assert workers.beat(connection, [waits]) == {waits}


def test_a_beat_that_comes_first_saves_the_worker(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    worker = register(connection, lease_seconds=0.1)
    past(connection, "workers", "heartbeat_at", HOUR)
    with connection.transaction():
        assert workers.beat(connection, [worker]) == {worker}
        marking = Meanwhile(other, lambda: workers.mark_lost(other))
        until(lambda: marking.waits(watcher), message="the marking waits")
    assert marking.answer() == []


def test_a_beat_that_comes_second_learns_that_the_worker_is_lost(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    worker = register(connection, lease_seconds=0.1)
    past(connection, "workers", "heartbeat_at", HOUR)
    with connection.transaction():
        assert workers.mark_lost(connection) == [worker]
        beating = Meanwhile(other, lambda: workers.beat(other, [worker]))
        until(lambda: beating.waits(watcher), message="the beat waits")
    assert beating.answer() == set()


def test_a_worker_known_to_be_gone_is_lost_at_once(connection: Connection) -> None:
    gone, alive = register(connection), register(connection)
    workers.lose(connection, [gone])
    assert workers.beat(connection, [gone, alive]) == {alive}
    at = connection.fetch_one("select lost_at from windlass.workers where id = %(id)s", id=gone)
    workers.lose(connection, [gone])
    assert connection.fetch_one("select lost_at from windlass.workers where id = %(id)s", id=gone) == at


def test_rows_of_workers_lost_long_ago_are_forgotten_unless_they_still_hold_a_job(connection: Connection) -> None:
    holder, old = register(connection), register(connection)
    add(connection)
    lease = claim_one(connection, holder)
    workers.lose(connection, [holder, old])
    past(connection, "workers", "lost_at", HOUR)
    recent, alive = register(connection), register(connection)
    workers.lose(connection, [recent])
    assert workers.forget(connection, seconds=HOUR / 2) == 1
    left = {row[0] for row in connection.fetch_all("select id from windlass.workers")}
    assert left == {holder, recent, alive}
    leases.release(connection, holder, [lease])
    assert workers.forget(connection, seconds=HOUR / 2) == 1


def test_forgetting_is_bounded(connection: Connection) -> None:
    workers.lose(connection, [register(connection) for _ in range(5)])
    past(connection, "workers", "lost_at", HOUR)
    assert [workers.forget(connection, seconds=1, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert count(connection, "workers") == 0
