"""A process that outlives a worker over HTTP by a moment, to end the commands of a worker that was killed.

The kernel's own means (PR_SET_PDEATHSIG) ends a command but none of what the command has started, and has to be asked
for between fork and exec, where a process with threads must not run Python.

Run as a script, it reads what `Guard` tells it from standard input, until that is closed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

# Of a command that was just starting when the worker was killed, only this says whose it is.
JOB_ID = "WINDLASS_JOB_ID"
_STARTING, _ENDED = 0, -1
_LOOK_SECONDS = 2.0


class Guard:
    """The worker's side, for all its threads. `run` names one run of a command: the job's id, a slash, the attempt."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ`: what a Python needs here to start at all, and no secret."""
        self._environ = environ
        self._told: dict[str, int] = {}
        self._lock = threading.Lock()
        self.process = self._start()

    def starting(self, run: str) -> None:
        """A command is about to start that has the job's id as WINDLASS_JOB_ID in its environment."""
        self._tell(run, _STARTING)

    def started(self, run: str, group: int) -> None:
        """It leads the process group `group`."""
        self._tell(run, group)

    def ended(self, run: str) -> None:
        """Nothing is left of its group. To be said while the leader's number is still taken."""
        self._tell(run, _ENDED)

    def close(self) -> None:
        """The worker leaves: what still runs is killed."""
        with self.process:
            pass

    def _tell(self, run: str, group: int) -> None:
        with self._lock:
            _note(self._told, run, group)
            try:
                self._write(run, group)
            except OSError:
                # Somebody has killed it.
                self.close()
                self.process = self._start()
                for known in self._told.items():
                    self._write(*known)

    def _write(self, run: str, group: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{run} {group}\n".encode())

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            env=self._environ,
            cwd="/",
            # A Ctrl-C is for the worker, which goes on for a while.
            start_new_session=True,
        )


def main() -> None:
    """Listens until the worker is gone, then kills what it left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A service manager sends them to all processes of a service at once.
        signal.signal(number, signal.SIG_IGN)
    groups: dict[str, int] = {}
    for line in sys.stdin:
        run, group = line.split()
        _note(groups, run, int(group))
    for group in groups.values():
        if group != _STARTING:
            _kill(group)
    unknown = {f"{JOB_ID}={run.partition('/')[0]}".encode() for run, group in groups.items() if group == _STARTING}
    deadline = time.monotonic() + _LOOK_SECONDS
    # Again and again: between fork and exec it has the worker's environment and not yet its own.
    while unknown and time.monotonic() < deadline:
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and unknown.intersection(_environment(process)):
                _kill(int(process.name))
        time.sleep(0.05)


def _note(groups: dict[str, int], run: str, group: int) -> None:
    groups[run] = group
    if group == _ENDED:
        del groups[run]


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


if __name__ == "__main__":
    main()
