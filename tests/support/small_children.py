"""The program that `SmallPool` runs: a real supervisor on a real board, whose children do one small thing each."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from workerpool.board import STEWARD, WORKER, Board, Cell
from workerpool.child import ChildSpec
from workerpool.errors import BootFailure
from workerpool.signals import Inbox
from workerpool.supervisor import Supervisor


def main(
    folder: str,
    *,
    worker: str = "polite",
    steward: str = "keeps_time",
    workers: int = 2,
    slots: int = 6,
    grace: float = 5.0,
    sidecar: bool = False,
) -> int:
    os.chdir(folder)
    board = Board.create(slots)
    specs = [ChildSpec(WORKER, _target(worker, board), workers), ChildSpec(STEWARD, _target(steward, board))]
    beside = subprocess.Popen(["sh", "-c", "exit 7"]) if sidecar else None
    code = Supervisor(board, specs, grace=grace, on_event=note).run()
    if beside:
        note("sidecar", code=beside.wait())
    return code


def note(event: str, **facts: Any) -> None:
    """One line in the diary, whole whoever else writes at the same time."""
    line = json.dumps({"event": event, "at": time.monotonic(), **facts}) + "\n"
    diary = os.open("diary", os.O_WRONLY | os.O_APPEND)
    os.write(diary, line.encode())
    os.close(diary)


def _target(name: str, board: Board) -> Callable[[Cell, Inbox], int]:
    def run(cell: Cell, inbox: Inbox) -> int:
        code: int = globals()[name](cell, inbox, board)
        return code

    return run


def _get_ready(cell: Cell, **facts: Any) -> None:
    cell.ready = True
    note("ready", role=cell.role, pid=os.getpid(), slot=cell.slot, **facts)


def _hear(cell: Cell, inbox: Inbox) -> list[int]:
    taken = inbox.take()
    for number in taken:
        note("heard", role=cell.role, pid=os.getpid(), signal=signal.Signals(number).name)
    return taken


def _pass(seconds: float) -> None:
    select.select([], [], [], seconds)


def _first_time(what: str) -> bool:
    """True for just one process of the pool."""
    try:
        os.close(os.open(what, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


# -- workers ----------------------------------------------------------------------------------------------------------


def polite(cell: Cell, inbox: Inbox, _board: Board) -> int:
    _get_ready(cell)
    while not _hear(cell, inbox):
        inbox.wait(None)
    return 0


def finishes_first(cell: Cell, inbox: Inbox, _board: Board) -> int:
    """Its job takes another second after it is told to drain."""
    _get_ready(cell)
    while not _hear(cell, inbox):
        inbox.wait(None)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        inbox.wait(0.05)
        _hear(cell, inbox)
    return 0


def leaves_on_quit(cell: Cell, inbox: Inbox, _board: Board) -> int:
    """Its job is longer than any grace."""
    _get_ready(cell)
    while signal.SIGQUIT not in _hear(cell, inbox):
        inbox.wait(None)
    return 0


def deaf(cell: Cell, inbox: Inbox, _board: Board) -> int:
    """Holds a job and reacts to nothing."""
    cell.incarnation = 1000 + cell.slot
    cell.begin([("a", 1), ("b", 2)])
    cell.start(0, now=time.monotonic(), kill_at=0.0)
    _get_ready(cell)
    while True:
        inbox.wait(None)
        _hear(cell, inbox)


def overruns_once(cell: Cell, inbox: Inbox, board: Board) -> int:
    if not _first_time("overrun"):
        return polite(cell, inbox, board)
    cell.incarnation = 1000
    cell.begin([("a", 1)])
    _get_ready(cell)
    cell.start(0, now=time.monotonic(), kill_at=time.monotonic() + 0.5)
    return _is_stuck()


def blocks_everything(cell: Cell, _inbox: Inbox, _board: Board) -> int:
    _get_ready(cell)
    return _is_stuck()


def _is_stuck() -> int:
    # As code stuck in C: no handler of Python's runs any more.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        _pass(60)


def keeps_its_deadlines(cell: Cell, inbox: Inbox, _board: Board) -> int:
    cell.begin([(str(n), n) for n in range(100)])
    _get_ready(cell)
    for index in range(10):
        cell.start(index, now=time.monotonic(), kill_at=time.monotonic() + 0.4)
        _pass(0.1)
        cell.finish(index, None, now=time.monotonic())
    note("done", pid=os.getpid())
    while not _hear(cell, inbox):
        inbox.wait(None)
    return 0


def boots_slowly(cell: Cell, inbox: Inbox, board: Board) -> int:
    note("booting", pid=os.getpid())
    _pass(0.7)
    return polite(cell, inbox, board)


def cannot_boot(_cell: Cell, _inbox: Inbox, _board: Board) -> int:
    raise BootFailure("no module named 'kinds_of_mine'")


def fails_booting(_cell: Cell, _inbox: Inbox, _board: Board) -> int:
    raise LookupError("a mistake of ours")


def calls_sys_exit_booting(_cell: Cell, _inbox: Inbox, _board: Board) -> int:
    sys.exit(0)


def second_cannot_boot(cell: Cell, inbox: Inbox, board: Board) -> int:
    if cell.slot == 2:
        raise BootFailure("slot 2 is cursed")
    return finishes_first(cell, inbox, board)


def dies_booting(_cell: Cell, _inbox: Inbox, _board: Board) -> int:
    note("born", pid=os.getpid())
    os._exit(9)


def boots_the_third_time(cell: Cell, inbox: Inbox, board: Board) -> int:
    if _first_time("one") or _first_time("two"):
        os._exit(9)
    return polite(cell, inbox, board)


def lacks_memory_once(cell: Cell, inbox: Inbox, board: Board) -> int:
    if _first_time("lacked"):
        raise MemoryError
    return polite(cell, inbox, board)


def runs_the_code(cell: Cell, inbox: Inbox, _board: Board) -> int:
    """As a kind that is imported after the fork: the file is its code."""
    with open("code", encoding="utf-8") as file:
        code = file.read()
    if code == "does not import":
        raise BootFailure("the new code does not import")
    if code == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    if code == "slow":
        _pass(0.5)
    _get_ready(cell, code=code)
    while not _hear(cell, inbox):
        inbox.wait(None)
    _pass(0.2)
    return 0


def recycles_once(cell: Cell, inbox: Inbox, board: Board) -> int:
    if _first_time("recycled"):
        _get_ready(cell)
        return 0
    return polite(cell, inbox, board)


def exits_with_3_at_work(cell: Cell, inbox: Inbox, board: Board) -> int:
    """As a handler that calls os._exit: no reason to stop the pool."""
    if _first_time("exited"):
        _get_ready(cell)
        os._exit(3)
    return polite(cell, inbox, board)


def fails_once(cell: Cell, inbox: Inbox, board: Board) -> int:
    if _first_time("failed"):
        _get_ready(cell)
        raise LookupError("a mistake of ours")
    return polite(cell, inbox, board)


def calls_sys_exit_once(cell: Cell, inbox: Inbox, board: Board) -> int:
    if _first_time("left"):
        _get_ready(cell)
        sys.exit("had enough")
    return polite(cell, inbox, board)


def draws(cell: Cell, inbox: Inbox, board: Board) -> int:
    note("drew", number=random.random())
    return polite(cell, inbox, board)


def shows_itself(cell: Cell, inbox: Inbox, board: Board) -> int:
    with open("/proc/self/comm", encoding="utf-8") as name:
        note("name", name=name.read().strip(), slot=cell.slot)
    descriptors = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd") if int(number) > 2]
    note("descriptors", open=[os.readlink(path) for path in descriptors if os.path.exists(path)])
    sys.stdout.write("last words\n")
    return polite(cell, inbox, board)


# -- stewards ---------------------------------------------------------------------------------------------------------


def keeps_time(cell: Cell, inbox: Inbox, board: Board) -> int:
    """As it should be: it leaves when it is released or an orphan, after a last pass."""
    _get_ready(cell)
    while not board.closing and not board.orphaned:
        inbox.wait(None)
        _hear(cell, inbox)
        note("woke", pid=os.getpid(), dead=[dead.cause for dead in board.dead()])
    note("last pass", pid=os.getpid(), dead=[dead.cause for dead in board.dead()])
    return 0


def never_ends_its_last_pass(cell: Cell, inbox: Inbox, board: Board) -> int:
    _get_ready(cell)
    while not board.closing and not board.orphaned:
        inbox.wait(None)
    note("last pass", pid=os.getpid())
    # As a call into the database that does not come back.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    while True:
        _pass(60)


def hangs_before_it_knows(cell: Cell, _inbox: Inbox, _board: Board) -> int:
    """In a call into the database already when its supervisor dies."""
    _get_ready(cell)
    return _is_stuck()


if __name__ == "__main__":
    sys.exit(main(**json.loads(sys.argv[1])))
