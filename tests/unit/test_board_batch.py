"""Rules of the batch in one cell: claimed, started, finished, settled, revoked, cancelled."""

import time

import pytest

from workerpool.board import ENTRIES, HEAP_BYTES, WORKER, Board, Cell, State


@pytest.fixture
def cell() -> Cell:
    opened = Board.create(2).open_cell(1, WORKER)
    assert opened is not None
    return opened


def _states(cell: Cell) -> list[State]:
    entries = cell.entries()
    assert entries is not None
    return [entry.state for entry in entries]


def _results(cell: Cell) -> list[bytes | None]:
    entries = cell.entries()
    assert entries is not None
    return [entry.result for entry in entries]


def _three() -> list[tuple[str, int]]:
    return [("0199aaaa-0000-7000-8000-00000000000" + str(n), 100 + n) for n in range(3)]


def test_a_fresh_batch_is_claimed_and_not_started(cell: Cell) -> None:
    cell.begin(_three())
    entries = cell.entries()
    assert entries is not None
    assert [(entry.job_id, entry.fence) for entry in entries] == _three()
    assert {(entry.state, entry.result) for entry in entries} == {(State.CLAIMED, None)}


def test_a_started_entry_says_since_when_and_until_when(cell: Cell) -> None:
    cell.begin(_three())
    before = time.monotonic()
    assert cell.start(1, now=before, kill_at=before + 30)
    assert _states(cell) == [State.CLAIMED, State.RUNNING, State.CLAIMED]
    assert cell.running_since == before
    assert cell.kill_at == before + 30


def test_a_finished_entry_keeps_its_result_and_nobody_is_to_be_killed_for_it(cell: Cell) -> None:
    cell.begin(_three())
    for index, result in enumerate([b'{"pages": 3}', None, b""]):
        cell.start(index, now=0.5, kill_at=1.0)
        assert cell.finish(index, result, now=0.5)
    assert _states(cell) == [State.FINISHED] * 3
    assert _results(cell) == [b'{"pages": 3}', None, b""]
    assert cell.kill_at == 0.0
    assert cell.running_since == 0.0


def test_a_settled_entry_is_over(cell: Cell) -> None:
    cell.begin(_three())
    cell.start(0, now=0.5, kill_at=1.0)
    cell.settled(0)
    cell.start(1, now=0.5, kill_at=2.0)
    cell.finish(1, b"1", now=0.5)
    cell.settled(1)
    cell.settled(2)
    assert _states(cell) == [State.SETTLED] * 3
    assert _results(cell) == [None] * 3
    assert cell.kill_at == 0.0
    assert cell.running_since == 0.0


def test_settling_an_earlier_entry_leaves_the_running_one_its_deadline(cell: Cell) -> None:
    cell.begin(_three())
    cell.start(0, now=0.5, kill_at=1.0)
    cell.finish(0, b"1", now=0.5)
    cell.start(1, now=0.5, kill_at=2.0)
    cell.settled(0)
    assert cell.kill_at == 2.0
    assert cell.running_since > 0


def test_a_result_without_room_is_refused_and_the_handler_is_over_all_the_same(cell: Cell) -> None:
    cell.begin(_three())
    cell.start(0, now=0.5, kill_at=1.0)
    assert cell.finish(0, b"a" * (HEAP_BYTES - 1), now=0.5)
    cell.start(1, now=0.5, kill_at=2.0)
    assert not cell.finish(1, b"bb", now=0.5)
    assert cell.kill_at == 0.0
    assert _states(cell) == [State.FINISHED, State.RUNNING, State.CLAIMED]
    cell.settled(1)
    cell.start(2, now=0.5, kill_at=3.0)
    assert cell.finish(2, b"c", now=0.5)
    assert _results(cell) == [b"a" * (HEAP_BYTES - 1), None, b"c"]


def test_the_room_for_results_is_free_again_once_all_of_them_are_settled(cell: Cell) -> None:
    cell.begin(_three())
    for index in range(3):
        cell.start(index, now=0.5, kill_at=1.0)
        assert cell.finish(index, bytes([index]) * HEAP_BYTES, now=0.5)
        assert _results(cell)[index] == bytes([index]) * HEAP_BYTES
        cell.settled(index)


def test_a_revoked_entry_cannot_be_started(cell: Cell) -> None:
    cell.begin(_three())
    assert cell.revoke({101, 102, 999}) == [101, 102]
    assert cell.start(0, now=0.5, kill_at=1.0)
    assert _states(cell) == [State.RUNNING, State.REVOKED, State.REVOKED]
    cell.finish(0, None, now=0.5)
    assert not cell.start(1, now=0.5, kill_at=1.0)
    assert (cell.kill_at, cell.running_since) == (0.0, 0.0)
    assert _states(cell) == [State.FINISHED, State.REVOKED, State.REVOKED]


def test_only_what_has_not_started_can_be_revoked(cell: Cell) -> None:
    cell.begin(_three())
    cell.start(0, now=0.5, kill_at=1.0)
    cell.finish(0, None, now=0.5)
    cell.start(1, now=0.5, kill_at=1.0)
    assert cell.revoke([100, 101, 102]) == [102]
    assert cell.revoke([100, 101, 102]) == []


def test_an_entry_is_started_once(cell: Cell) -> None:
    cell.begin(_three())
    assert cell.start(0, now=0.5, kill_at=1.0)
    assert not cell.start(0, now=0.5, kill_at=1.0)


def test_what_lies_behind_the_entry_started_last_is_neither_started_nor_revoked(cell: Cell) -> None:
    cell.begin(_three())
    assert cell.start(1, now=0.5, kill_at=1.0)
    assert not cell.start(0, now=0.5, kill_at=1.0)
    assert cell.revoke([100, 101, 102]) == [102]


def test_a_worker_gives_up_only_what_nobody_has_revoked(cell: Cell) -> None:
    cell.begin(_three())
    cell.start(0, now=0.5, kill_at=1.0)
    cell.revoke([102])
    assert cell.give_up([100, 101, 102]) == [101]
    assert _states(cell) == [State.RUNNING, State.REVOKED, State.REVOKED]


def test_a_revocation_cut_short_by_a_kill_is_over_with_the_next_batch(cell: Cell) -> None:
    cell._revoking = True
    cell.begin(_three())
    assert not cell._revoking


def test_a_cancel_reaches_only_the_running_entry(cell: Cell) -> None:
    cell.begin(_three())
    assert not cell.request_cancel(100)
    cell.start(0, now=0.5, kill_at=1.0)
    assert not cell.request_cancel(101)
    assert not cell.cancel_requested
    assert cell.request_cancel(100)
    assert cell.cancel_requested


def test_a_cancel_does_not_outlive_its_entry(cell: Cell) -> None:
    cell.begin(_three())
    cell.start(0, now=0.5, kill_at=1.0)
    cell.request_cancel(100)
    cell.finish(0, None, now=0.5)
    cell.start(1, now=0.5, kill_at=1.0)
    assert not cell.cancel_requested


def test_a_batch_replaces_only_one_that_is_settled_or_revoked(cell: Cell) -> None:
    cell.begin(_three())
    cell.revoke([102])
    cell.settled(0)
    with pytest.raises(RuntimeError, match="still holds"):
        cell.begin([("b", 7)])
    cell.settled(1)
    cell.begin([("b", 7)])
    entries = cell.entries()
    assert entries is not None
    assert [(entry.job_id, entry.fence) for entry in entries] == [("b", 7)]


def test_a_batch_has_room_for_its_most_entries_and_for_no_more(cell: Cell) -> None:
    claims = [(f"{n:040d}", 2**62 + n) for n in range(ENTRIES)]
    cell.begin(claims)
    for index in range(ENTRIES):
        cell.start(index, now=0.5, kill_at=1.0)
        assert cell.finish(index, f"{index}".encode(), now=0.5)
    entries = cell.entries()
    assert entries is not None
    assert [(entry.job_id, entry.fence) for entry in entries] == claims
    assert [entry.result for entry in entries] == [f"{n}".encode() for n in range(ENTRIES)]
    with pytest.raises(ValueError, match="holds 1000"):
        cell.begin([*claims, ("one more", 1)])


def test_a_job_id_that_would_not_fit_is_refused(cell: Cell) -> None:
    with pytest.raises(ValueError, match="40 bytes"):
        cell.begin([("x" * 41, 1)])
    assert cell.entries() == []
