"""Looking at other processes through /proc: who lives, and who works where."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from support.waiting import until

ROOT = Path(__file__).parents[2]


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@contextlib.contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """They are, every thread of them, while the block lasts: a signal alone leaves a moment in which one goes on."""
    pids = list(pids)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: all(map(is_stopped, pids)), message=f"{pids} are stopped")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Whether every thread of it is; who has ended is not."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)
    except (FileNotFoundError, ProcessLookupError):
        return False


def working_in(folder: Path) -> list[int]:
    """The processes whose working folder is `folder` or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            works_in = Path(os.readlink(entry / "cwd")) if entry.name.isdigit() else None
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if works_in is not None and works_in.is_relative_to(folder) and alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def kill_all_at_once(pids: Iterable[int]) -> None:
    """SIGKILL as a power cut would: none gets to see another's death."""
    pids = list(pids)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def script(code: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """A Python process of its own, in a session of its own, with the checkout importable. The caller ends it."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        **options,
    )
