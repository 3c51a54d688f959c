"""A real supervisor with small children, run as a program of its own, seen from the test."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import small_children
from support.waiting import until
from workerpool.board import STEWARD, WORKER


class SmallPool:
    """`folder` is empty before; `options` go to `small_children.main`. Every event of the supervisor and every word
    of its children becomes one line of `diary` in the folder.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        (folder / "diary").touch()
        options = {"folder": str(folder), **options}
        with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, small_children.__file__, json.dumps(options)],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    # Output is buffered as in production, so that a lost buffer shows.
                    "PYTHONUNBUFFERED": "",
                },
                stdout=stdout,
                stderr=stderr,
                # A group of its own, so that a test can signal all of it and nothing else.
                start_new_session=True,
            )

    def diary(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """The lines of this event, with these facts, in order."""
        lines = [json.loads(line) for line in (self.folder / "diary").read_text().splitlines()]
        return [line for line in lines if line["event"] == event and facts.items() <= line.items()]

    def wait_for(self, event: str, times: int = 1, seconds: float = 10, **facts: Any) -> list[dict[str, Any]]:
        """Until the diary has so many such lines; all of them."""

        def enough() -> list[dict[str, Any]]:
            lines = self.diary(event, **facts)
            return lines if len(lines) >= times else []

        return until(enough, seconds=seconds, message=f"not {times} times {event} {facts}: {self.everything()}")

    def everything(self) -> str:
        return (self.folder / "diary").read_text() + (self.folder / "stderr").read_text()

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def pids(self, role: str = "worker") -> list[int]:
        """Children of this role that were started and have not been collected."""
        gone = {line["pid"] for line in self.diary("exited")}
        return [line["pid"] for line in self.diary("started", role=role) if line["pid"] not in gone]

    def ready(self, workers: int) -> list[int]:
        """Until so many workers, and the steward, are at work; the workers' pids."""
        until(
            lambda: len(self._at_work(WORKER)) >= workers and self._at_work(STEWARD),
            message=f"not {workers} workers at work: {self.everything()}",
        )
        return self._at_work(WORKER)

    def _at_work(self, role: str) -> list[int]:
        at_work = {line["pid"] for line in self.diary("ready")}
        return [pid for pid in self.pids(role) if pid in at_work]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def send_group(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def ends(self, seconds: float = 10) -> int:
        """Its exit code, at the latest after so many seconds."""
        return self.process.wait(seconds)

    def anyone_left(self) -> list[int]:
        """Processes of its session that still run."""
        return [pid for pid in _processes() if _session(pid) == self.process.pid]

    def __enter__(self) -> "SmallPool":
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever the test did, nothing of the pool runs on."""
        for pid in self.anyone_left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _session(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[3])
