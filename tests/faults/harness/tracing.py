"""strace at a running process: it counts its system calls, or kills it at a chosen one."""

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.programs import path_of
from support.waiting import until


class Call(NamedTuple):
    """A system call by its name, and the how many'th of that name in its thread."""

    name: str
    number: int


def calls(pid: int, log: Path, work: Callable[[], object]) -> list[Call]:
    """The system calls that the threads of `pid` make while `work()` is done, in order and each once."""
    with _attached(pid, "-o", str(log)):
        work()
    made = [re.match(r"(\d+) +(\w+)\(", line) for line in log.read_text().splitlines()]
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[Call, None] = {}
    for call in filter(None, made):
        counts[call[1], call[2]] += 1
        found[Call(call[2], counts[call[1], call[2]])] = None
    return list(found)


@contextmanager
def kill_at(pid: int, call: Call) -> Iterator[None]:
    """In the block `pid` dies by SIGKILL when one of its threads is about to make this call, counted from here.

    The call itself is not carried out any more; those before it were.
    """
    with _attached(pid, "-e", f"inject={call.name}:signal=KILL:when={call.number}", "-o", os.devnull):
        yield


@contextmanager
def _attached(pid: int, *arguments: str) -> Iterator[None]:
    tracer = subprocess.Popen(
        [path_of("needs_strace"), "-f", "-e", "trace=all", *arguments, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        assert "attached" in said or not Path(f"/proc/{pid}").exists(), said
        yield
    finally:
        # It lets go of whoever is still alive; whoever it killed has taken it along.
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            # It sometimes waits for a thread that is gone. Without its tracer a process goes on.
            tracer.kill()
            tracer.communicate()
        until(lambda: _tracer_of(pid) == 0, 5, "the process is let go")


def _tracer_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"TracerPid:\s*(\d+)", status)
    return int(found[1]) if found else 0
