"""A child: its fork, what it does first of all, and what its end is called."""

import ctypes
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from workerpool.cell import STEWARD, WORKER, Cell
from workerpool.errors import BOOT_FAILURE, BootFailure
from workerpool.signals import Inbox, blocked

logger = logging.getLogger(__name__)

# A steward whose supervisor is gone has this long for its last pass; all are gone within a second.
ORPHAN_SECONDS = 0.9

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None)
_NO_MORE = (ctypes.c_ulong(0),) * 3


@dataclass(frozen=True)
class ChildSpec:
    """What to run in the children of one role: `target` returns the exit code of its process.

    The target gets its cell and its own inbox. A worker's inbox hears TERM, INT and HUP (drain) and QUIT
    (release and leave); a steward's hears USR1 (the supervisor wakes it). A target that has booted sets `cell.ready`;
    any exception before that is a failure to boot, a BootFailure one that was foreseen.
    """

    role: str
    target: Callable[[Cell, Inbox], int]
    count: int = 1


@dataclass(frozen=True)
class _Manners:
    heard: frozenset[signal.Signals]
    when_parent_dies: signal.Signals


_MANNERS = {
    WORKER: _Manners(frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}), signal.SIGKILL),
    # TERM only ends its wait, so that it sees it is an orphan: a platform sends TERM to the whole group too.
    STEWARD: _Manners(frozenset({signal.SIGUSR1}), signal.SIGTERM),
}
# Sent to a process group they reach children too, whose default would be to stop or to die.
_SUPERVISORS_OWN = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
}


def fork(spec: ChildSpec, cell: Cell, inbox: Inbox) -> int:
    """Start a child in `cell`; its pid. `inbox` is the supervisor's, which the child makes its own.

    Raises OSError when the system has no room for a process, RuntimeError when threads run: a fork copies
    their locks without them, and a child forked by one dies with it.
    """
    if threading.active_count() > 1 or threading.current_thread() is not threading.main_thread():
        raise RuntimeError("the pool forks, so no thread may run in its supervisor")
    _flush_output()
    parent = os.getpid()
    # Until the child has handlers of its own, a signal to it would go to the parent's inbox or be lost.
    with blocked():
        pid = os.fork()
        if pid == 0:
            _live_and_leave(spec, cell, inbox, parent)
    cell.pid = pid
    return pid


def _live_and_leave(spec: ChildSpec, cell: Cell, inbox: Inbox, parent: int) -> NoReturn:
    code = 1
    try:
        die_with_parent(_MANNERS[spec.role].when_parent_dies, parent)
        cell.pid = os.getpid()
        _set_name(f"windlass-{spec.role[0]}{cell.slot}")
        _take_over(spec.role, inbox, parent)
        code = _run(spec, cell, inbox)
    except BaseException:
        logger.exception("%s in slot %d cannot start", spec.role, cell.slot)
    finally:
        # Not sys.exit: exit hooks and unwinding belong to the parent, whose frames this process carries. Nor may a
        # log handler that fails to flush unwind into them.
        try:
            logging.shutdown()
            _flush_output()
        finally:
            os._exit(code)


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Ask the kernel for this signal when the parent dies; leave at once if it died before we could ask."""
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), *_NO_MORE)
    if os.getppid() != parent:
        os._exit(0)


def _take_over(role: str, inbox: Inbox, parent: int) -> None:
    # The standard library reseeds `random` in every forked child by itself.
    heard = _MANNERS[role].heard
    inbox.reset_in_child()
    inbox.install(heard, _SUPERVISORS_OWN - heard)
    if role == STEWARD:
        _bound_last_pass(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _bound_last_pass(parent: int) -> None:
    """End this process ORPHAN_SECONDS after its parent, even if it hangs in a database call then.

    A thread and not a signal's handler: while libpq waits, Python's handlers do not run and its threads do.
    """

    def watch() -> None:
        try:
            select.select([os.pidfd_open(parent)], [], [])
        except OSError:
            # Gone already, or a kernel that gives no handles on processes.
            while os.getppid() == parent:
                time.sleep(0.2)
        time.sleep(ORPHAN_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, name="watch the supervisor", daemon=True).start()


def _run(spec: ChildSpec, cell: Cell, inbox: Inbox) -> int:
    try:
        return spec.target(cell, inbox)
    except BootFailure as error:
        cell.boot_error = str(error)
        logger.error("%s in slot %d cannot boot: %s", spec.role, cell.slot, error)
        return BOOT_FAILURE
    except SystemExit as leaving:
        logger.error("%s in slot %d left by SystemExit: %s", spec.role, cell.slot, leaving.code)
        if not cell.ready:
            cell.boot_error = f"left by SystemExit: {leaving.code}"
            return BOOT_FAILURE
        if leaving.code is None:
            return 0
        return leaving.code & 0xFF if isinstance(leaving.code, int) else 1
    except BaseException as error:
        logger.exception("%s in slot %d failed", spec.role, cell.slot)
        if not cell.ready and not isinstance(error, MemoryError | OSError):
            # Unforeseen, and yet no other start of the same code would end otherwise: people must read of it. Only what
            # the machine lacked it may have in a while.
            cell.boot_error = f"{type(error).__name__}: {error}"
            return BOOT_FAILURE
        return 1


def _set_name(name: str) -> None:
    # Shown by ps and top; the kernel cuts it at 15 bytes.
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()), *_NO_MORE)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # Whoever read it is gone, it is closed, or there is none; a child must come and go all the same.
            pass


def describe_exit(status: int) -> str:
    """A sentence for the wait status of a child, as `os.waitpid` returns it."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    number = -code
    known: dict[int, str] = {
        signal.SIGKILL: "killed by signal 9 (SIGKILL; possibly out of memory)",
        signal.SIGSEGV: "segmentation fault (signal 11)",
        signal.SIGABRT: "aborted (signal 6)",
        signal.SIGBUS: "bus error (signal 7)",
        signal.SIGFPE: "arithmetic error (signal 8)",
        signal.SIGILL: "illegal instruction (signal 4)",
    }
    if number in known:
        return known[number]
    try:
        return f"killed by signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"killed by signal {number}"
