"""One worker's view of a queue: whose turn it is, what its cursors pass over, and how long it may rest."""

import math
import time
from collections import Counter
from collections.abc import Callable

import pytest
from support.waiting import until
from support.work import KIND, Meanwhile, add, add_many, ids, lease_of

from sql import leases
from sql.connection import Connection
from sql.errors import Unavailable
from sql.leases import Failure
from workerpool import lanes
from workerpool.lanes import Lane

Opener = Callable[[], Connection]


def schedule(conn: Connection, count: int) -> None:
    """Streams of other priorities with nothing due."""
    for priority in range(1, count + 1):
        for sign in (1, -1):
            add(conn, priority=sign * priority, run_at="2999-01-01T00:00:00Z")


def test_a_lane_drains_its_queue_in_order(connection: Connection, worker: int) -> None:
    given = sorted(add_many(connection, 100))
    lane, claimed = Lane("default", [KIND]), list[str]()
    while batch := lane.claim(connection, worker, 7):
        claimed += ids(batch)
    assert claimed == given


def test_kinds_of_equal_priority_take_turns(connection: Connection, worker: int) -> None:
    schedule(connection, 10)
    for kind in ("a", "b", "c"):
        add_many(connection, 20, kind=kind)
    lane = Lane("default", ["a", "b", "c", KIND])
    taken = [lane.claim(connection, worker, 1)[0].kind for _ in range(30)]
    assert all(set(taken[turn : turn + 3]) == {"a", "b", "c"} for turn in range(0, 30, 3))


def test_turns_are_taken_by_batches_too(connection: Connection, worker: int) -> None:
    for kind in ("a", "b"):
        add_many(connection, 60, kind=kind)
    lane = Lane("default", ["a", "b"])
    taken = [{job.kind for job in lane.claim(connection, worker, 10)} for _ in range(12)]
    assert taken[0] != taken[1]
    assert taken == [taken[0], taken[1]] * 6


def test_workers_do_not_all_begin_with_the_same_kind(connection: Connection, worker: int) -> None:
    for kind in ("a", "b"):
        add_many(connection, 30, kind=kind)
    assert {Lane("default", ["a", "b"]).claim(connection, worker, 1)[0].kind for _ in range(30)} == {"a", "b"}


def test_a_kind_that_always_has_work_does_not_keep_another_from_its_turn(connection: Connection, worker: int) -> None:
    add_many(connection, 10, kind="b")
    lane = Lane("default", ["a", "b"])
    taken = list[str]()
    for _ in range(10):
        # Kind a is never found without a job and never left with one.
        add(connection, kind="a")
        taken.append(lane.claim(connection, worker, 1)[0].kind)
    assert Counter(taken)["b"] >= 4


def test_a_higher_priority_that_comes_in_between_does_not_change_whose_turn_it_is(
    connection: Connection, worker: int
) -> None:
    for kind in ("a", "b"):
        add_many(connection, 10, kind=kind)
    # Keeps the lane aware of the stream.
    add(connection, kind="high", priority=9, run_at="2999-01-01T00:00:00Z")
    lane = Lane("default", ["a", "b", "high"])
    taken = list[str]()
    for _ in range(16):
        if len(taken) % 2 == 0:
            add(connection, kind="high", priority=9)
        taken.append(lane.claim(connection, worker, 1)[0].kind)
    assert taken[::2] == ["high"] * 8
    assert Counter(taken[1::2]) == {"a": 4, "b": 4}


def test_a_higher_priority_is_taken_first_by_the_very_next_claim(connection: Connection, worker: int) -> None:
    add_many(connection, 10)
    early = add(connection, priority=5)
    lane = Lane("default", [KIND])
    assert ids(lane.claim(connection, worker, 1)) == [early]
    late = add(connection, priority=5)
    assert ids(lane.claim(connection, worker, 1)) == [late]


def test_a_claim_starts_where_the_last_ended_and_a_scan_finds_what_came_behind(
    connection: Connection, worker: int, long_ration: float
) -> None:
    given = sorted(add_many(connection, 4))
    lane = Lane("default", [KIND])
    scanned_at = time.monotonic()
    first = lane.claim(connection, worker, 2)
    behind = add(connection, run_at="2001-01-01T00:00:00Z")
    leases.release(connection, worker, [lease_of(first[0])])
    connection.execute("update windlass.ready set run_at = '2002-01-01Z' where id = %(id)s", id=first[0].id)
    assert ids(lane.claim(connection, worker, 10)) == given[2:]
    assert lane.claim(connection, worker, 10) == []
    # It does not rest on that, but only until the ration lets it look from the start.
    assert 0 < lane.idle_seconds() <= long_ration
    found = until(lambda: lane.claim(connection, worker, 10), 10)
    assert time.monotonic() - scanned_at >= long_ration
    assert ids(found) == [behind, first[0].id]


def test_a_retry_that_is_due_at_once_is_found_within_the_ration(connection: Connection, worker: int) -> None:
    add_many(connection, 3)
    lane = Lane("default", [KIND])
    (first,) = lane.claim(connection, worker, 1)
    rest = lane.claim(connection, worker, 5)
    leases.fail(connection, worker, [Failure(lease_of(first), "crashed")])
    (again,) = until(lambda: lane.claim(connection, worker, 5), 2)
    assert (again.id, again.attempt) == (first.id, 2)
    assert len(rest) == 2


def test_a_stream_nobody_has_seen_is_found_within_the_ration(connection: Connection, worker: int) -> None:
    lane = Lane("default", [KIND, "new"])
    assert lane.claim(connection, worker, 5) == []
    for facts in ({"kind": "new"}, {"priority": 77}):
        job_id = add(connection, **facts)
        assert ids(until(lambda: lane.claim(connection, worker, 5), 2)) == [job_id]


def test_scans_come_no_closer_than_their_ration(connection: Connection, worker: int, long_ration: float) -> None:
    lane = Lane("default", [KIND])
    began = time.monotonic()
    assert lane.claim(connection, worker, 5) == []
    job_id = add(connection)
    assert lane.claim(connection, worker, 5) == []
    assert lane.seen_at - began < long_ration
    assert ids(until(lambda: lane.claim(connection, worker, 5), 10)) == [job_id]
    assert lane.seen_at - began >= long_ration


def test_slow_scans_put_off_the_next(connection: Connection, worker: int, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    lane = Lane("default", [KIND])
    for _ in range(2):
        until(lambda: time.monotonic() > lane._next_scan)
        with other.transaction():
            other.execute("lock table windlass.ready in access exclusive mode")
            scan = Meanwhile(connection, lambda: lane.claim(connection, worker, 5))
            until(lambda scan=scan: scan.waits(watcher), message="the scan waits")
            held_since = time.monotonic()
            until(lambda since=held_since: time.monotonic() > since + 0.03)
        assert scan.answer() == []
    assert lane.claim(connection, worker, 5, hinted=True) == []
    # Forty times the 30 ms it took at least would be longer than the longest, a second.
    assert lane.idle_seconds() > 0.5


def test_work_of_other_queues_and_kinds_is_left_alone(connection: Connection, worker: int) -> None:
    add(connection, kind="foreign", priority=9)
    add(connection, queue="other", priority=9)
    lane = Lane("default", [KIND])
    assert lane.claim(connection, worker, 5) == []
    assert lane.idle_seconds() == math.inf


def test_a_lane_without_kinds_claims_nothing(connection: Connection, worker: int) -> None:
    add(connection)
    assert Lane("default", []).claim(connection, worker, 5) == []


def test_a_paused_queue_rests_and_wakes_when_it_is_resumed(connection: Connection, worker: int) -> None:
    add_many(connection, 4)
    lane = Lane("default", [KIND])
    assert len(lane.claim(connection, worker, 1)) == 1
    connection.execute("insert into windlass.queues (name, paused_at) values ('default', now())")
    assert lane.claim(connection, worker, 1) == []
    until(lambda: lane.claim(connection, worker, 1) == [] and lane.idle_seconds() == math.inf)
    connection.execute("update windlass.queues set paused_at = null")
    assert len(until(lambda: lane.claim(connection, worker, 5))) == 3


def test_with_nothing_there_a_lane_rests_as_long_as_it_may(connection: Connection, worker: int) -> None:
    lane = Lane("default", [KIND])
    assert lane.claim(connection, worker, 5) == []
    assert lane.idle_seconds() == math.inf


def test_who_looks_at_a_resting_lane_too_early_lets_it_rest_on(
    connection: Connection, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = Lane("default", [KIND])
    add_many(connection, 2)
    until(lambda: lane.claim(connection, worker, 5) == [] and lane.idle_seconds() == math.inf)
    assert lane.claim(connection, worker, 5) == []
    assert lane.idle_seconds() == math.inf
    monkeypatch.setattr(lane, "_next_scan_if_hinted", time.monotonic() + 1)
    assert lane.claim(connection, worker, 5, hinted=True) == []
    assert lane.idle_seconds() <= 1


def test_a_rest_ends_when_scheduled_work_comes_due(connection: Connection, worker: int) -> None:
    row = connection.fetch_one("select windlass.rfc3339(now() + interval '1 second')")
    assert row is not None
    soon = add(connection, run_at=row[0])
    add(connection, run_at="2999-01-01T00:00:00Z", priority=9)
    lane = Lane("default", [KIND])
    assert lane.claim(connection, worker, 5) == []
    assert 0 < lane.idle_seconds() <= 1
    claimed = until(lambda: lane.claim(connection, worker, 5), 5)
    assert ids(claimed) == [soon]
    started = connection.fetch_one("select started_at >= run_at from windlass.running")
    assert started == (True,)


def test_due_work_in_other_hands_is_looked_for_again_soon(
    connection: Connection, worker: int, open_another: Opener
) -> None:
    other = open_another()
    job_id = add(connection)
    lane = Lane("default", [KIND])
    with other.transaction():
        other.execute("select from windlass.ready for update")
        assert lane.claim(connection, worker, 5) == []
        assert lane.idle_seconds() <= 1
    assert ids(until(lambda: lane.claim(connection, worker, 5), 2)) == [job_id]


def test_a_lane_outlives_its_connection(connection: Connection, worker: int, open_another: Opener) -> None:
    given = sorted(add_many(connection, 6))
    lane, lost = Lane("default", [KIND]), open_another()
    assert ids(lane.claim(lost, worker, 2)) == given[:2]
    lost.close()
    with pytest.raises(Unavailable):
        lane.claim(lost, worker, 2)
    assert ids(lane.claim(connection, worker, 2)) == given[2:4]
    assert ids(lane.claim(connection, worker, 9)) == given[4:]


def test_a_row_in_other_hands_when_the_cursor_passed_is_found_later(
    connection: Connection, worker: int, open_another: Opener
) -> None:
    other = open_another()
    given = sorted(add_many(connection, 3))
    lane = Lane("default", [KIND])
    with other.transaction():
        other.execute("select from windlass.ready where id = %(id)s for update", id=given[0])
        assert ids(lane.claim(connection, worker, 9)) == given[1:]
    assert ids(until(lambda: lane.claim(connection, worker, 9), 2)) == given[:1]


def test_of_the_streams_a_claim_has_emptied_only_the_latest_are_asked_until_the_next_scan(
    connection: Connection, worker: int, long_ration: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "_REMEMBERED", 3)
    for priority in range(10):
        add(connection, priority=priority)
    row = connection.fetch_one("select windlass.rfc3339(now() + interval '1 second')")
    assert row is not None
    later = add(connection, priority=20, run_at=row[0])
    lane = Lane("default", [KIND])
    for priority in range(9, 1, -1):
        (job,) = lane.claim(connection, worker, 1)
        assert int(job.priority) == priority
    # The three emptied last, what is there yet, and what was found to come due.
    assert {priority for _, priority in lane._streams} == {20, 5, 4, 3, 2, 1, 0}
    until(lambda: connection.fetch_one("select now() >= %(at)s::timestamptz", at=row[0]) == (True,))
    assert ids(lane.claim(connection, worker, 1)) == [later]
    again = add(connection, priority=9)
    assert again not in ids(lane.claim(connection, worker, 1))
    until(lambda: again in ids(lane.claim(connection, worker, 1)), 2 * long_ration)


def test_only_so_many_empty_streams_are_remembered(connection: Connection, worker: int) -> None:
    lane = Lane("default", [KIND])
    for priority in range(lanes._REMEMBERED + 5):
        add(connection, priority=priority)
    until(
        lambda: not lane.claim(connection, worker, 1) and lane.idle_seconds() == math.inf, 10, "it has seen all empty"
    )
    assert len(lane._streams) == len(lane._cursors) == lanes._REMEMBERED
    assert {priority for _, priority in lane._streams} == set(range(lanes._REMEMBERED)), "the latest served"
