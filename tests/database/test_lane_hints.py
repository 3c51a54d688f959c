"""What a hint makes of a worker's view of a queue: a claim at once, and a scan sooner than usual."""

import math
import time
from collections.abc import Callable

import pytest
from support.waiting import until
from support.work import KIND, add, claim, ids, register

from sql import leases
from sql.connection import Connection
from sql.leases import Stream
from workerpool import lanes
from workerpool.lanes import Lane

Opener = Callable[[], Connection]


def test_a_hinted_job_of_a_stream_that_was_empty_is_claimed_without_a_scan(
    connection: Connection, worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = Lane("default", [KIND])
    add(connection)
    assert len(lane.claim(connection, worker, 5)) == 1
    until(
        lambda: lane.claim(connection, worker, 5) == [] and lane.idle_seconds() == math.inf, 2, "it has seen it empty"
    )
    job_id = add(connection)
    monkeypatch.setattr(lanes.leases, "streams", lambda *_: pytest.fail("a scan came first"))
    assert ids(lane.claim(connection, worker, 5, hinted=True)) == [job_id]


def test_a_hinted_claim_that_finds_nothing_scans_when_that_is_due(connection: Connection, worker: int) -> None:
    lane = Lane("default", [KIND, "new"])
    add(connection)
    assert len(lane.claim(connection, worker, 5)) == 1
    until(
        lambda: lane.claim(connection, worker, 5) == [] and lane.idle_seconds() == math.inf, 2, "it has seen it empty"
    )
    job_id = add(connection, kind="new")
    assert ids(until(lambda: lane.claim(connection, worker, 5, hinted=True), 2)) == [job_id]


def test_a_hint_that_finds_nothing_does_not_wait_for_the_usual_scan(
    connection: Connection, worker: int, long_ration: float
) -> None:
    lane = Lane("default", [KIND])
    began = time.monotonic()
    assert lane.claim(connection, worker, 5) == []
    job_id = add(connection)
    assert ids(until(lambda: lane.claim(connection, worker, 5, hinted=True), 10)) == [job_id]
    assert time.monotonic() - began < long_ration / 2


def test_scans_for_hints_have_a_ration_too_and_a_lane_rests_until_then(
    connection: Connection, worker: int, long_ration: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thousand times half a millisecond.
    monkeypatch.setattr(lanes, "_SCAN_GAP_FACTOR", 1000)
    lane = Lane("default", [KIND])
    for _ in range(2):
        assert lane.claim(connection, worker, 5, hinted=True) == []
    job_id = add(connection)
    assert lane.claim(connection, worker, 5, hinted=True) == []
    assert 0 < lane.idle_seconds() <= 1 < long_ration
    assert ids(until(lambda: lane.claim(connection, worker, 5), 10)) == [job_id]


def test_a_stream_whose_jobs_others_took_is_still_known_when_the_next_hint_comes(
    connection: Connection, worker: int, open_another: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, other = Lane("default", [KIND]), open_another()
    add(connection)
    assert len(lane.claim(connection, worker, 5)) == 1
    add(connection)
    found, look = list[list[Stream]](), leases.streams
    with other.transaction():
        assert len(claim(other, register(other))) == 1
        monkeypatch.setattr(lanes.leases, "streams", lambda *asked: found.append(look(*asked)) or found[-1])
        until(lambda: lane.claim(connection, worker, 5) == [] and any(found), 2, "it sees the job it cannot have")
    until(
        lambda: lane.claim(connection, worker, 5) == [] and lane.idle_seconds() == math.inf, 2, "it has seen it empty"
    )
    job_id = add(connection)
    monkeypatch.setattr(lanes.leases, "streams", lambda *_: pytest.fail("a scan came first"))
    assert ids(lane.claim(connection, worker, 5, hinted=True)) == [job_id]
