"""When handlers started: one line each in a file that handler and bench share, by clocks all processes share."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_VARIABLE = "BENCH_STAMPS"
_descriptors: dict[int, int] = {}


class Stamp(NamedTuple):
    """Nanoseconds of CLOCK_MONOTONIC and of the time of day."""

    monotonic: int
    wall: int


class Run(NamedTuple):
    """One start of a handler."""

    job: str
    pid: int


class Stamps:
    """The file; `variables` tells a pool of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.variables = {_VARIABLE: str(path)}

    def read(self) -> dict[str, Stamp]:
        """The first start of each job, by id."""
        found: dict[str, Stamp] = {}
        for line in self._path.read_text().splitlines():
            job, monotonic, wall, _ = line.split()
            found.setdefault(job, Stamp(int(monotonic), int(wall)))
        return found

    def runs(self) -> list[Run]:
        """Every start, in the order they were written."""
        words = [line.split() for line in self._path.read_text().splitlines()]
        return [Run(job, int(pid)) for job, _, _, pid in words]

    def count(self) -> int:
        """How many lines were written."""
        return self._path.read_text().count("\n")


@contextmanager
def collected() -> Iterator[Stamps]:
    """A file for stamps, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        path = Path(folder) / "stamps"
        path.touch()
        yield Stamps(path)


def write(job_id: str) -> None:
    """In the handler: it has started."""
    monotonic, wall = time.monotonic_ns(), time.time_ns()
    pid = os.getpid()
    if pid not in _descriptors:
        _descriptors[pid] = os.open(os.environ[_VARIABLE], os.O_WRONLY | os.O_APPEND)
    os.write(_descriptors[pid], b"%s %d %d %d\n" % (job_id.encode(), monotonic, wall, pid))
