"""Which job a claim takes: the order within a stream and between streams, and what is not for it at all."""

import pytest
from support.work import KIND, add, add_many, claim, from_start, ids, lease_of, look, past, register

from sql import leases
from sql.connection import Connection
from sql.leases import Pick
from sql.rows import Claimed


def take(conn: Connection, picks: list[Pick], limit: int = 100, queue: str = "default") -> list[Claimed]:
    """A claim of an HTTP lease from exactly these picks."""
    return leases.claim(conn, queue=queue, picks=picks, limit=limit, lease_ms=60_000)


def db_time(conn: Connection, seconds: float) -> str:
    """So many seconds from now."""
    row = conn.fetch_one("select windlass.rfc3339(now() + %(s)s * interval '1 second')", s=seconds)
    assert row is not None
    return str(row[0])


def test_a_claimed_job_runs_and_its_attempt_is_counted(connection: Connection) -> None:
    worker, job_id = register(connection), add(connection, payload='{"n": 1}', timeout_seconds=7)
    (claimed,) = claim(connection, worker)
    assert (claimed.id, claimed.kind, claimed.payload) == (job_id, KIND, '{"n": 1}')
    assert (claimed.attempt, claimed.max_attempts, claimed.timeout_seconds) == (1, 3, 7)
    job = look(connection, job_id)
    assert (job.status, job.attempts) == ("running", 1)
    assert job.started_at == job.updated_at is not None
    assert leases.held_by(connection, [worker]) == [(job_id, KIND, claimed.fence, worker, False)]


def test_ids_times_and_payloads_are_claimed_as_text(connection: Connection) -> None:
    add(connection, run_at="2001-02-03T04:05:06.789012Z")
    (claimed,) = claim(connection)
    assert [type(value) for value in claimed] == [str, str, str, int, int, int, int, float, str, int]
    assert claimed.waited_seconds > 3600


def test_when_there_is_nothing_nothing_is_claimed(connection: Connection) -> None:
    assert claim(connection) == []
    assert take(connection, from_start((KIND, 0))) == []


def test_a_job_of_the_future_is_never_claimed(connection: Connection) -> None:
    job_id = add(connection, run_at=db_time(connection, 3600))
    assert take(connection, from_start((KIND, 0))) == []
    past(connection, "ready", "run_at", 3590)
    assert take(connection, from_start((KIND, 0))) == []
    past(connection, "ready", "run_at", 10)
    assert ids(take(connection, from_start((KIND, 0)))) == [job_id]


def test_within_a_stream_the_earliest_run_at_comes_first_and_then_the_smallest_id(any_connection: Connection) -> None:
    late = add(any_connection, run_at="2002-01-01T00:00:00Z")
    early = add(any_connection, run_at="2001-01-01T00:00:00Z")
    same = [add(any_connection, run_at="2003-01-01T00:00:00Z") for _ in range(4)]
    now = add_many(any_connection, 20)
    expected = [early, late, *sorted(same), *sorted(now)]
    one_by_one = [claim(any_connection)[0].id for _ in range(7)]
    assert one_by_one + ids(claim(any_connection, limit=100)) == expected


def test_a_higher_priority_comes_first_however_late_it_was_enqueued(connection: Connection) -> None:
    given = [add(connection, priority=priority, run_at="2001-01-01T00:00:00Z") for priority in (0, -32768, 5)]
    highest = add(connection, priority=32767)
    assert [claim(connection)[0].id for _ in range(4)] == [highest, given[2], given[0], given[1]]


def test_a_batch_takes_all_of_the_higher_priority_before_any_of_the_lower(connection: Connection) -> None:
    low = add_many(connection, 5, priority=1)
    high = add_many(connection, 5, priority=2)
    first, second = claim(connection, limit=7), claim(connection, limit=7)
    assert ids(first) == sorted(high) + sorted(low)[:2]
    assert ids(second) == sorted(low)[2:]


def test_scheduled_work_of_a_higher_priority_does_not_hold_back_the_lower(connection: Connection) -> None:
    add(connection, priority=9, run_at=db_time(connection, 3600))
    due = add(connection, priority=-9)
    assert ids(claim(connection, limit=10)) == [due]


def test_the_answer_is_in_claim_order_whatever_the_order_of_the_picks(connection: Connection) -> None:
    given = {
        add(connection, kind=kind, priority=priority, run_at=f"{2000 + year}-01-01T00:00:00Z"): (-priority, year)
        for kind, priority, year in [("a", 1, 3), ("b", 1, 2), ("a", 2, 9), ("b", 1, 4), ("a", 1, 1)]
    }
    claimed = take(connection, from_start(("b", 1), ("a", 1), ("a", 2)))
    assert ids(claimed) == sorted(given, key=lambda job_id: given[job_id])


def test_of_equal_priorities_the_first_pick_is_served_first(connection: Connection) -> None:
    a, b = add_many(connection, 3, kind="a"), add_many(connection, 3, kind="b")
    assert set(ids(take(connection, from_start(("b", 0), ("a", 0)), limit=3))) == set(b)
    assert set(ids(take(connection, from_start(("b", 0), ("a", 0)), limit=3))) == set(a)


def test_a_claim_takes_only_from_its_queue_and_its_kinds(connection: Connection) -> None:
    add(connection, queue="other")
    add(connection, kind="foreign")
    mine = add(connection)
    assert ids(claim(connection, limit=10)) == [mine]


def test_a_claim_starts_behind_its_cursor(connection: Connection) -> None:
    given = sorted(add_many(connection, 10))
    first = take(connection, from_start((KIND, 0)), limit=4)
    cursor = Pick(KIND, 0, first[-1].run_at, first[-1].id)
    leases.release(connection, None, [lease_of(first[0])])
    connection.execute("update windlass.ready set run_at = '2001-01-01Z' where id = %(id)s", id=first[0].id)
    assert ids(take(connection, [cursor])) == given[4:]
    assert take(connection, [cursor]) == []
    assert ids(take(connection, from_start((KIND, 0)))) == [first[0].id]


def test_a_cursor_survives_any_session_time_zone(connection: Connection) -> None:
    connection.execute("set time zone 'Asia/Kolkata'")
    given = sorted(add_many(connection, 4, run_at="2001-01-01T00:00:00.000001Z"))
    first = take(connection, from_start((KIND, 0)), limit=2)
    assert ids(take(connection, [Pick(KIND, 0, first[-1].run_at, first[-1].id)])) == given[2:]


def test_an_unreadable_payload_hurts_nobody_else_in_the_batch(connection: Connection) -> None:
    unreadable = add(connection, payload="1e5000")
    fine = add(connection)
    claimed = claim(connection, register(connection), limit=2)
    assert {job.id: len(job.payload) for job in claimed} == {unreadable: 5001, fine: 2}


def test_streams_are_listed_highest_priority_first_with_when_they_are_due(any_connection: Connection) -> None:
    conn = any_connection
    add_many(conn, 3, kind="a", priority=1)
    add(conn, kind="b", priority=1)
    add(conn, kind="a", priority=300, run_at=db_time(conn, 100))
    add(conn, kind="b", priority=-5, run_at="2001-01-01T00:00:00Z")
    add(conn, kind="unasked")
    add(conn, kind="a", queue="other")
    listed = leases.streams(conn, "default", ["b", "a", "absent"])
    assert [(stream.kind, stream.priority) for stream in listed] == [("a", 300), ("a", 1), ("b", 1), ("b", -5)]
    assert [stream.due_in for stream in listed[1:]] == [0.0, 0.0, 0.0]
    assert listed[0].due_in == pytest.approx(100, abs=30)


def test_an_empty_stream_is_not_listed(connection: Connection) -> None:
    add(connection)
    claim(connection)
    assert leases.streams(connection, "default", [KIND]) == []
    assert leases.streams(connection, "default", []) == []


def entries_read(conn: Connection) -> int:
    """Entries of the order index that this transaction has read so far."""
    row = conn.fetch_one("select pg_stat_get_xact_tuples_returned('windlass.ready_order'::regclass)")
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_foreign_kinds_backlog_is_never_walked(any_connection: Connection, analyzed: bool) -> None:
    conn = any_connection
    for kind, priority in [("foreign", 0), ("foreign", 5), ("zzz", 0)]:
        add_many(conn, 3000, kind=kind, priority=priority)
    add_many(conn, 3000, run_at=db_time(conn, 3600))
    mine = add_many(conn, 50)
    if analyzed:
        conn.execute("analyze windlass.ready")
    with conn.transaction():
        before = entries_read(conn)
        picks = from_start((KIND, 5), (KIND, 0))
        assert len(leases.claim(conn, queue="default", picks=picks, limit=20, lease_ms=60_000)) == 20
        assert entries_read(conn) - before == 20
    assert len(claim(conn, limit=100)) == len(mine) - 20
