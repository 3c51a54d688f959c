"""Adapters as processes: those that answer once, and workers, watched from outside.

`catalog` says which peers there are, `tools` installs them, `adapters/` speaks to each by its public interface and
`questions` asks one queue everything once.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import processes
from bench.peers.catalog import Peer
from bench.peers.tools import ADAPTERS, Tools

_LEAVE_SECONDS = 15
_ANSWER_SECONDS = 300
_LOOK_SECONDS = 0.02


class Started(NamedTuple):
    """What handlers have said so far: how many started, and when the first did, monotonic nanoseconds."""

    count: int
    first: int


class Memory(NamedTuple):
    """MiB: the most a process that runs handlers ever had resident, what the largest shares with nobody, and all do."""

    peak: float
    private: float
    all_private: float


def ask(peer: Peer, tools: Tools, url: str, *action: str) -> dict[str, Any]:
    """What the peer's adapter answers to an action; nothing for one that only does. Raises SystemExit."""
    done = subprocess.run(
        [*peer.speaking(tools), *action],
        env=_environment(peer, tools, url, Path(os.devnull)),
        capture_output=True,
        text=True,
        timeout=_ANSWER_SECONDS,
    )
    if done.returncode:
        raise SystemExit(f"{peer.name} {' '.join(action)}: {done.stderr[-1000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1])) if done.stdout.strip() else {}


class Workers:
    """A peer's running workers, and the folder their handlers write to."""

    def __init__(self, name: str, folder: Path, started: list[subprocess.Popen[bytes]]) -> None:
        self._name = name
        self._folder = folder
        self._processes = started

    def wait_for(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Returns once `done` holds. Raises SystemExit when it takes too long or a worker is gone."""
        processes.wait_for(lambda: self._live() and done(), seconds, f"{self._name}: {what}", _LOOK_SECONDS)

    def started(self) -> Started:
        """Over all processes."""
        said = [[int(word) for word in path.read_text().split()] for path in self._tallies()]
        return Started(sum(count for count, _ in said), min((first for _, first in said), default=0))

    def each_start(self, since: int = 0) -> dict[int, int]:
        """When each job first started, by its number, leaving out what was before `since`.

        Only of workers told to write it.
        """
        starts: dict[int, int] = {}
        for path in self._tallies():
            for line in path.read_text().splitlines():
                number, at = map(int, line.split())
                if at >= since:
                    starts[number] = min(at, starts.get(number, at))
        return starts

    def memory(self) -> Memory:
        """Of all their processes, now."""
        ran = [int(path.name) for path in self._tallies()]
        everyone = [pid for process in self._processes for pid in processes.tree(process.pid)]
        return Memory(
            max(map(_peak_mib, ran)),
            max(map(processes.private_mib, ran)),
            sum(map(processes.private_mib, everyone)),
        )

    def _tallies(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if path.name.isdigit()]

    def _live(self) -> bool:
        if any(process.poll() is not None for process in self._processes):
            log = (self._folder / "log").read_text(errors="replace")
            raise SystemExit(f"{self._name}: a worker ended: {log[-1000:]}")
        return True


@contextmanager
def working(peer: Peer, tools: Tools, url: str, folder: Path, *, each_start: bool = False) -> Iterator[Workers]:
    """The peer's workers, each in a session of its own; ended, with all they started, at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    environment = {**_environment(peer, tools, url, folder), "BENCH_EACH_START": str(int(each_start))}
    started: list[subprocess.Popen[bytes]] = []
    with (folder / "log").open("ab") as log:
        try:
            for work in peer.working(tools):
                started.append(subprocess.Popen(work, env=environment, stdout=log, stderr=log, start_new_session=True))
            yield Workers(peer.name, folder, started)
        finally:
            _end(started)


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        # Also whatever it started and left behind.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def _environment(peer: Peer, tools: Tools, url: str, folder: Path) -> dict[str, str]:
    return processes.environment(
        **{
            "BENCH_URL": url,
            "BENCH_FOLDER": str(folder),
            "DATABASE_URL": url,
            "NODE_PATH": str(tools.node_modules),
            "NODE_ENV": "production",
            "PYTHONPATH": str(ADAPTERS),
            "PYTHONWARNINGS": "ignore",
            **peer.environment,
        }
    )


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
