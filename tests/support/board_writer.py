"""Programs around one shared board, for tests/processes/test_board_kills.py: `board_writer.py <what> <times>`.

`kills`: a child writes to its cell without a pause and is killed at a random instant, over and over; before and after
its death the parent reads the cell and checks that every record is whole. `locks`: a child is stopped while it holds
its cell's lock. `waits`: a child changes its cell while the parent holds the lock. `revokes`: a child starts entries
as fast as it can while the parent takes them back. Prints what it saw as JSON.
"""

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable

from support.waiting import until
from workerpool.board import ENTRIES, WORKER, Board, Cell, Entry, State

# Some batches are short and some fill the cell; the fence tells which batch an entry belongs to.
_SIZES = (1, 7, 60, ENTRIES)
_PER_BATCH = 1000


def _job_id(fence: int) -> str:
    return f"{fence:036d}"


def _result(fence: int) -> bytes | None:
    return None if fence % 5 == 0 else f"{fence}:".encode() * (fence % 17)


def _write(cell: Cell) -> None:
    cell.incarnation = cell.slot + 1
    batch = 0
    while True:
        batch += 1
        size = _SIZES[batch % len(_SIZES)]
        fences = [batch * _PER_BATCH + n for n in range(size)]
        cell.begin([(_job_id(fence), fence) for fence in fences])
        for index, fence in enumerate(fences):
            if not cell.start(index, now=time.monotonic(), kill_at=float(fence)):
                continue
            if index % 4 == 0 or not cell.finish(index, _result(fence), now=time.monotonic()) or index % 3 == 0:
                cell.settled(index)
        for index in range(size):
            cell.settled(index)


def _torn(entries: list[Entry]) -> list[str]:
    """What is wrong with this reading of a cell; nothing if it could have been one instant."""
    problems = []
    batches = {entry.fence // _PER_BATCH for entry in entries}
    if len(batches) > 1:
        problems.append(f"a mix of batches {batches}")
    if entries and len(entries) != _SIZES[min(batches) % len(_SIZES)]:
        problems.append(f"{len(entries)} entries of batch {batches}")
    if [entry.fence % _PER_BATCH for entry in entries] != list(range(len(entries))):
        problems.append("fences out of order")
    if any(after.state not in (State.CLAIMED, State.REVOKED) for after in _behind_the_running_one(entries)):
        problems.append("an entry behind the running one was touched")
    for entry in entries:
        if entry.job_id != _job_id(entry.fence):
            problems.append(f"{entry} has another's id")
        if entry.state == State.FINISHED and entry.result != _result(entry.fence):
            problems.append(f"{entry} has another's result")
    return problems


def _behind_the_running_one(entries: list[Entry]) -> list[Entry]:
    running = next((n for n, entry in enumerate(entries, start=1) if entry.state == State.RUNNING), len(entries))
    return entries[running:]


def _fork_writer(board: Board, slot: int) -> Cell:
    cell = board.open_cell(slot, WORKER)
    assert cell is not None
    pid = os.fork()
    if pid == 0:
        try:
            _write(cell)
        finally:
            os._exit(1)
    cell.pid = pid
    return cell


def kills(times: int) -> dict[str, object]:
    board, problems = Board.create(2), list[str]()
    states, readings, refused, revoked = dict.fromkeys(State, 0), 0, 0, 0
    for n in range(times):
        cell = _fork_writer(board, n % 2)
        end = time.monotonic() + random.uniform(0.0, 0.02)
        while time.monotonic() < end:
            entries = cell.entries()
            readings += 1
            refused += entries is None
            problems += _torn(entries or [])
            revoked += len(cell.revoke([entry.fence for entry in (entries or [])[-3:]]))
        os.kill(cell.pid, signal.SIGKILL)
        os.waitpid(cell.pid, 0)
        cell.bury("killed", cause="crashed")
        entries = cell.entries()
        if entries is None:
            problems.append("a dead child's cell cannot be read")
        problems += _torn(entries or [])
        for entry in entries or []:
            states[entry.state] += 1
        cell.free()
    seen = {state.name: count for state, count in states.items()}
    return {"torn": problems[:5], "readings": readings, "refused": refused, "revoked": revoked, "states": seen}


def locks(_times: int) -> dict[str, object]:
    board = Board.create(2)
    cell = board.open_cell(1, WORKER)
    assert cell is not None
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        cell.begin([("a", 1), ("b", 2)])
        with cell.held():
            os.write(tell, b"x")
            signal.pause()
    cell.pid = pid
    os.read(told, 1)
    asked = time.monotonic()
    while_held = [cell.entries(), cell.revoke([1]), cell.request_cancel(1)]
    seconds_while_held = time.monotonic() - asked
    os.kill(pid, signal.SIGSTOP)
    until(lambda: cell.stopped)
    asked = time.monotonic()
    while_stopped = [cell.entries(), cell.revoke([1]), cell.request_cancel(1)]
    seconds_while_stopped = time.monotonic() - asked
    os.kill(pid, signal.SIGKILL)
    until(lambda: not cell.alive)
    zombie = [len(cell.entries() or []), cell.revoke([1])]
    os.waitpid(pid, 0)
    return {
        "while held": [*while_held, seconds_while_held],
        "while stopped": [*while_stopped, seconds_while_stopped],
        "after death": zombie,
    }


def waits(_times: int) -> dict[str, object]:
    board = Board.create(2)
    steps: dict[str, Callable[[Cell], object]] = {
        "begin": lambda cell: cell.begin([("a", 1), ("b", 2)]),
        "start during a revocation": lambda cell: cell.start(0, now=time.monotonic(), kill_at=0.0),
        "finish with a result": lambda cell: cell.finish(0, b"done", now=time.monotonic()),
        "end when it is to be killed": lambda cell: cell.disarm(time.monotonic()),
    }
    seen: dict[str, object] = {}
    cell = board.open_cell(1, WORKER)
    assert cell is not None
    for name, step in steps.items():
        told, tell = os.pipe()
        cell.kill_at = time.monotonic() + 0.1 if "killed" in name else 0.0
        with cell.held() as held:
            assert held
            cell._revoking = "revocation" in name
            pid = os.fork()
            if pid == 0:
                os.write(tell, b"?")
                step(cell)
                os.write(tell, b"!")
                os._exit(0)
            os.read(told, 1)
            early, _, _ = select.select([told], [], [], 0.1)
        late, _, _ = select.select([told], [], [], 5.0)
        os.waitpid(pid, 0)
        seen[name] = [bool(early), bool(late)]
    return seen


def revokes(times: int) -> dict[str, object]:
    """How many entries the child started and how many were revoked, and how often both or neither was said of one."""
    board = Board.create(2)
    both = neither = started = revoked = 0
    for batch in range(times):
        cell = board.open_cell(1, WORKER)
        assert cell is not None
        fences = list(range(batch * _PER_BATCH + 1, batch * _PER_BATCH + 501))
        cell.begin([(_job_id(fence), fence) for fence in fences])
        answer, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            mine = []
            for index, fence in enumerate(fences):
                if cell.start(index, now=time.monotonic(), kill_at=0.0):
                    mine.append(fence)
                    cell.finish(index, None, now=time.monotonic())
            os.write(tell, json.dumps(mine).encode())
            os._exit(0)
        cell.pid = pid
        taken = set(cell.revoke(fences[random.randrange(0, 250) :]))
        os.close(tell)
        with os.fdopen(answer) as said:
            ran = set(json.load(said))
        os.waitpid(pid, 0)
        both += len(ran & taken)
        neither += len(set(fences) - ran - taken)
        started += len(ran)
        revoked += len(taken)
        cell.bury("done", cause="drained")
        cell.free()
    return {"both": both, "neither": neither, "started": started, "revoked": revoked}


if __name__ == "__main__":
    print(
        json.dumps({"kills": kills, "locks": locks, "waits": waits, "revokes": revokes}[sys.argv[1]](int(sys.argv[2])))
    )
