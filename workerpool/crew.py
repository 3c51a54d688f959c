"""The children that exist now: who sits in which slot, who is leaving and why, and who has gone."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from workerpool.board import STEWARD, Board
from workerpool.cell import Cell
from workerpool.child import ChildSpec, describe_exit, fork
from workerpool.ladder import Ladder
from workerpool.signals import Inbox

_STEWARD_SLOT = 0
_OUR_KILLS = {"timeout": "killed after its deadline", "drained": "killed at the end of the drain"}
# A worker that is stopped while it holds its cell's lock must not escape its deadline.
_OVERRUN_WITHOUT_LOCK_SECONDS = 1.0


@dataclass
class Child:
    """One forked process until it is collected. `generation` counts the replacements of the whole pool."""

    pid: int
    role: str
    slot: int
    cell: Cell
    generation: int
    started_at: float
    seen_ready: bool = False
    way_out: Ladder | None = None
    leaving_as: str = ""
    sent: dict[int, str] = field(default_factory=dict)

    @property
    def leaving(self) -> bool:
        return self.way_out is not None

    def leave(self, way_out: Ladder, cause: str) -> None:
        """Go down this ladder, unless on the way already."""
        if self.way_out is None:
            self.way_out, self.leaving_as = way_out, cause

    def send(self, number: signal.Signals, cause: str) -> None:
        """Signal it; should it die of this signal, that was the cause."""
        self.sent.setdefault(number, cause)
        # Not collected yet, so the pid is still its own, if only a zombie's.
        os.kill(self.pid, number)


@dataclass(frozen=True)
class Death:
    """A collected child, its cause of death and the sentence for it; `exit_code` is minus the signal that killed it."""

    child: Child
    cause: str
    sentence: str
    exit_code: int


class Crew:
    """Forks children into free slots and collects them; it decides nothing about how many there should be."""

    def __init__(self, board: Board, inbox: Inbox) -> None:
        self._board, self._inbox = board, inbox
        self._children: dict[int, Child] = {}
        # The slot freed last is taken first: a respawned child gets its predecessor's.
        self._free_slots = [slot for slot in range(board.slots - 1, -1, -1) if slot != _STEWARD_SLOT]

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children.values()))

    def of(self, role: str) -> list[Child]:
        """Children of this role, oldest first."""
        return [child for child in self if child.role == role]

    def start(self, spec: ChildSpec, generation: int) -> Child | None:
        """Fork one more. None while there is no slot or no cell for it; raises OSError when fork fails."""
        if spec.role != STEWARD and not self._free_slots:
            return None
        slot = _STEWARD_SLOT if spec.role == STEWARD else self._free_slots[-1]
        cell = self._board.open_cell(slot, spec.role)
        if cell is None:
            return None
        started_at = time.monotonic()
        try:
            pid = fork(spec, cell, self._inbox)
        except OSError:
            cell.bury("never started", cause="crashed")
            raise
        if spec.role != STEWARD:
            self._free_slots.pop()
        child = Child(pid, spec.role, slot, cell, generation, started_at)
        self._children[pid] = child
        return child

    def collect(self) -> list[Death]:
        """Bury every child that has exited since the last call."""
        return [self._bury(self._children.pop(pid), status) for pid, status in self._exited()]

    def _exited(self) -> Iterator[tuple[int, int]]:
        # By pid and not "any child": the program around us may have children of its own to wait for.
        for pid in list(self._children):
            collected, status = os.waitpid(pid, os.WNOHANG)
            if collected:
                yield pid, status
        if os.getpid() == 1:
            yield from self._strays()

    def _strays(self) -> Iterator[tuple[int, int]]:
        """As a container's first process we inherit everyone's orphans and must collect them too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._children:
                yield pid, status

    def _bury(self, child: Child, status: int) -> Death:
        cause, sentence = _cause(child, status), describe_exit(status)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            sentence = _OUR_KILLS.get(cause, sentence)
        child.cell.bury(sentence, cause=cause)
        if child.role != STEWARD:
            self._free_slots.append(child.slot)
        return Death(child, cause, sentence, os.waitstatus_to_exitcode(status))

    def kill_overrunning(self, now: float) -> list[Child]:
        """Kill the children past their `kill_at`, each once; those killed."""
        return [child for child in self if signal.SIGKILL not in child.sent and _kill_if_overrun(child, now)]

    def kill_all(self) -> None:
        """Leave nobody behind, and collect them."""
        for child in self:
            child.send(signal.SIGKILL, "drained")
            os.waitpid(child.pid, 0)
        self._children.clear()


def _kill_if_overrun(child: Child, now: float) -> bool:
    if not _overrun(child.cell, now):
        return False
    # Under the lock the worker cannot begin its next job between this look and the signal.
    with child.cell.held() as held:
        if not _overrun(child.cell, now if held else now - _OVERRUN_WITHOUT_LOCK_SECONDS):
            return False
        child.send(signal.SIGKILL, "timeout")
        return True


def _overrun(cell: Cell, now: float) -> bool:
    return 0.0 < cell.kill_at <= now


def _cause(child: Child, status: int) -> str:
    if os.WIFSIGNALED(status):
        return child.sent.get(os.WTERMSIG(status), "crashed")
    if status != 0 or not (child.cell.ready or child.leaving):
        return "crashed"
    return child.leaving_as or "recycled"
