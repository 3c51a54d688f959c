"""Programs around `workerpool.child.fork`, for tests/processes/test_child.py: `forks.py <what>` prints JSON."""

import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable

from workerpool.board import STEWARD, WORKER, Board, Cell
from workerpool.child import ChildSpec, die_with_parent, fork
from workerpool.signals import Inbox


def _born(target: Callable[[Cell, Inbox], int], inbox: Inbox, role: str = WORKER, slot: int = 1) -> tuple[int, Cell]:
    cell = Board.create(2).open_cell(slot, role)
    assert cell is not None
    return fork(ChildSpec(role, target), cell, inbox), cell


def _code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def told_at_birth() -> list[int]:
    """Codes of children that are sent TERM as soon as they have a pid: 0 when it reached their own inbox."""

    def listens(_cell: Cell, inbox: Inbox) -> int:
        if not inbox.received:
            inbox.wait(2)
        return 0 if inbox.take() == [signal.SIGTERM] else 7

    inbox = Inbox()
    inbox.install([signal.SIGTERM])
    codes = []
    for _ in range(50):
        pid, _cell = _born(listens, inbox)
        os.kill(pid, signal.SIGTERM)
        codes.append(_code(pid))
    return [*codes, len(inbox.take())]


def told_before_birth() -> list[int]:
    """A signal the parent has not taken yet is the parent's alone."""
    inbox = Inbox()
    inbox.install([signal.SIGTERM])
    signal.raise_signal(signal.SIGTERM)
    pid, _cell = _born(lambda _cell, own: len(own.take()), inbox)
    return [_code(pid), len(inbox.take())]


def inboxes_apart() -> list[int]:
    """Signals of a child do not end its parent's wait, nor does its death take the parent's pipe along."""
    inbox = Inbox()
    inbox.install([signal.SIGTERM])

    def takes_one(_cell: Cell, own: Inbox) -> int:
        own.wait(5)
        return len(own.take())

    pid, _cell = _born(takes_one, inbox)
    os.kill(pid, signal.SIGTERM)
    code = _code(pid)
    poller = select.poll()
    poller.register(inbox.fileno(), select.POLLIN)
    woken = len(poller.poll(0))
    signal.raise_signal(signal.SIGTERM)
    return [code, woken, len(inbox.take()), len(poller.poll(0))]


def handlers() -> dict[str, list[str]]:
    """Which signals do anything but their default, in a worker, in a steward and in what a worker starts."""
    seen: dict[str, list[str]] = {}

    def special(_cell: Cell, _inbox: Inbox) -> int:
        names = [n.name for n in signal.Signals if callable(signal.getsignal(n))]
        blocked = [signal.Signals(n).name for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        os.write(tell, json.dumps({"caught": sorted(names), "blocked": blocked}).encode())
        return 0

    inbox = Inbox()
    # What the program around the pool listens to is no business of the children.
    signal.signal(signal.SIGWINCH, lambda *_: None)
    inbox.install([signal.SIGTERM, signal.SIGCHLD])
    for role in (WORKER, STEWARD):
        told, tell = os.pipe()
        pid, _cell = _born(special, inbox, role)
        _code(pid)
        seen[role] = json.loads(os.read(told, 4096))
    return seen


def beside_a_thread() -> str:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        _born(lambda _cell, _inbox: 0, Inbox())
    except RuntimeError as error:
        return str(error)
    finally:
        stop.set()
        thread.join()
    return "forked all the same"


def parent_already_gone() -> list[int]:
    """A child whose parent is another one than it expects leaves before it does anything."""
    pid = os.fork()
    if pid == 0:
        die_with_parent(signal.SIGKILL, parent=os.getpid())
        os._exit(9)
    expected = os.getpid()
    other = os.fork()
    if other == 0:
        die_with_parent(signal.SIGKILL, parent=expected)
        os._exit(9)
    return [_code(pid), _code(other)]


def uncaught() -> dict[str, object]:
    """A target that fails before it is ready says why, and nothing after it runs in the child."""

    def fails(_cell: Cell, _inbox: Inbox) -> int:
        sys.stdout.write("said by the child\n")
        raise LookupError("no such kind")

    sys.stdout.write("said once by the parent\n")
    pid, cell = _born(fails, Inbox())
    return {"code": _code(pid), "boot_error": cell.boot_error}


def cannot_flush_its_log() -> int:
    """Code of a child with a log handler that fails at the end, as one of an author's own may."""

    class Unflushable(logging.Handler):
        def flush(self) -> None:
            raise LookupError("no log")

    kept = []

    def logs(_cell: Cell, _inbox: Inbox) -> int:
        kept.append(Unflushable())
        return 5

    pid, _cell = _born(logs, Inbox())
    return _code(pid)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
