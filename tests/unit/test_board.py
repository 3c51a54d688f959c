"""Rules of the board as a whole, and of one cell's life on it."""

import os
import time

import pytest

from workerpool.board import STEWARD, WORKER, Board, Cell

SLOTS = 4


@pytest.fixture
def board() -> Board:
    return Board.create(SLOTS)


def _worker(board: Board, slot: int = 1) -> Cell:
    cell = board.open_cell(slot, WORKER)
    assert cell is not None
    return cell


def test_a_new_board_has_nobody_and_keeps_nobody(board: Board) -> None:
    assert board.living() == []
    assert board.dead() == []
    assert not board.closing
    assert board.looked_at == 0.0


def test_an_opened_cell_is_living_and_knows_who_it_is_for(board: Board) -> None:
    cell = _worker(board, 3)
    assert board.living() == [cell]
    assert (cell.slot, cell.role, cell.ready, cell.incarnation, cell.kill_at) == (3, WORKER, False, 0, 0.0)
    assert cell.entries() == []


def test_every_field_reads_back_what_was_written(board: Board) -> None:
    cell = _worker(board)
    cell.pid, cell.incarnation, cell.kill_at, cell.lease_until = 77, 2**63, 12.25, 99.5
    cell.ready = cell.lost = True
    cell.boot_error = "no module named kinds"
    assert (cell.pid, cell.incarnation, cell.kill_at, cell.lease_until) == (77, 2**63, 12.25, 99.5)
    assert cell.ready
    assert cell.lost
    assert cell.boot_error == "no module named kinds"
    cell.ready = cell.lost = False
    assert not cell.ready
    assert not cell.lost


def test_cells_do_not_share_anything(board: Board) -> None:
    first, second = _worker(board, 1), _worker(board, 2)
    first.kill_at, first.boot_error = 5.0, "x" * 400
    first.begin([("a", 1)])
    assert (second.kill_at, second.boot_error, second.entries(), second.slot) == (0.0, "", [], 2)


def test_a_text_is_cut_to_its_room_and_never_in_the_middle_of_a_letter(board: Board) -> None:
    cell = _worker(board)
    cell.boot_error = "é" * 300
    assert cell.boot_error == "é" * 200
    cell.boot_error = "x" + "é" * 300
    assert cell.boot_error == "x" + "é" * 199
    cell.boot_error = "short"
    assert cell.boot_error == "short"


def test_a_text_no_encoding_can_hold_does_not_hurt(board: Board) -> None:
    cell = _worker(board)
    cell.boot_error = "bad \udcff byte"
    assert cell.boot_error == "bad ? byte"


def test_a_dead_childs_cell_stays_as_its_death_record_until_it_is_freed(board: Board) -> None:
    cell = _worker(board)
    cell.incarnation = 41
    cell.begin([("a", 7)])
    cell.bury("exited with code 9", cause="crashed")
    assert board.living() == []
    assert board.dead() == [cell]
    assert (cell.incarnation, cell.sentence, cell.cause) == (41, "exited with code 9", "crashed")
    assert [entry.fence for entry in cell.entries() or []] == [7]
    cell.free()
    assert board.dead() == []


def test_a_child_that_never_registered_leaves_no_record(board: Board) -> None:
    cell = _worker(board)
    cell.bury("exited with code 1", cause="crashed")
    assert board.living() == []
    assert board.dead() == []


def test_only_a_dead_cell_can_be_freed(board: Board) -> None:
    cell = _worker(board)
    cell.free()
    assert board.living() == [cell]


def test_a_reopened_cell_knows_nothing_of_its_former_child(board: Board) -> None:
    cell = _worker(board)
    cell.incarnation, cell.ready, cell.kill_at, cell.lost = 41, True, 3.0, True
    cell.boot_error = "bad import"
    cell.begin([("a", 7)])
    cell.start(0, now=time.monotonic(), kill_at=9.0)
    cell.bury("exited with code 9", cause="crashed")
    cell.free()
    again = _worker(board, 2)
    assert again is cell
    assert (again.incarnation, again.ready, again.kill_at, again.lost, again.running_since) == (
        0,
        False,
        0.0,
        False,
        0.0,
    )
    assert (again.boot_error, again.sentence, again.cause, again.entries()) == ("", "", "", [])
    again.begin([("b", 8)])


def test_deaths_nobody_settles_stop_new_workers_but_never_the_steward(board: Board) -> None:
    opened = 0
    while (cell := board.open_cell(1, WORKER)) is not None:
        cell.incarnation = opened + 1
        cell.bury("exited with code 9", cause="crashed")
        opened += 1
    assert SLOTS <= opened < 2 * SLOTS + 8
    steward = board.open_cell(0, STEWARD)
    assert steward is not None
    board.dead()[0].free()
    assert board.open_cell(1, WORKER) is not None


def test_all_slots_can_live_beside_as_many_deaths(board: Board) -> None:
    for slot in range(SLOTS):
        cell = _worker(board, slot)
        cell.incarnation = slot + 1
        cell.bury("exited with code 9", cause="crashed")
    assert [_worker(board, slot).slot for slot in range(SLOTS)] == list(range(SLOTS))


def test_alive_is_what_the_kernel_says(board: Board) -> None:
    cell = _worker(board)
    cell.pid = os.getpid()
    assert cell.alive
    assert not cell.stopped
    # No process has this number: the kernel's largest is 2**22.
    cell.pid = 2**22 + 1
    assert cell.living
    assert not cell.alive
    assert not cell.stopped


def test_an_orphan_is_one_whose_parent_is_not_the_supervisor(board: Board) -> None:
    board.supervisor = os.getppid()
    assert not board.orphaned
    board.supervisor = os.getpid()
    assert board.orphaned
