"""Failpoints: every line of ours that a worker's or a steward's loop runs is one, and none of them is in the product.

A pool that starts with their `environ()` traces the main threads of its workers, or of its stewards, from outside
(`planted/sitecustomize.py`). As long as there are no points, who is traced writes down the lines that it runs.
Afterwards each takes the next point there is, and dies by SIGKILL when it is about to run that line; one that finds
none left works on untouched.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

from faults.harness.imports import after_import, python_path
from support.processes import ROOT

VARIABLE = "WINDLASS_TEST_FAILPOINTS"
_TRACED = (str(ROOT / "workerpool"), str(ROOT / "sql"))


class Line(NamedTuple):
    """A line of a file, and the how many'th time in its process that it is about to be run."""

    file: str
    line: int
    number: int


class Failpoints:
    """Those in the processes of one `role`, worker or steward, kept in `folder`."""

    def __init__(self, role: str, folder: Path) -> None:
        self._role, self._folder = role, folder
        folder.mkdir()

    def environ(self) -> dict[str, str]:
        """Variables of the pool."""
        return {"PYTHONPATH": python_path(planted=True), VARIABLE: f"{self._role} {self._folder}"}

    def ran(self) -> list[Line]:
        """What they have run, in order; as long as there is only one of them."""
        numbers: Counter[tuple[str, int]] = Counter()
        lines = []
        for line in (self._folder / "ran").read_text().splitlines():
            file, number = line.rsplit(":", 1)
            numbers[file, int(number)] += 1
            lines.append(Line(file, int(number), numbers[file, int(number)]))
        return lines

    def plant(self, points: Iterable[Line]) -> None:
        """From the next process on each takes one."""
        written = self._folder / "points.new"
        written.write_text(json.dumps(list(points)))
        written.rename(self._folder / "points")

    def taken(self) -> int:
        """How many have looked for a point."""
        return _size(self._folder / "taken")

    def deaths(self) -> int:
        """How many have come to the line that they took."""
        return _size(self._folder / "deaths")


def into_process(told: str) -> None:
    """In a process of that pool, which was told so by VARIABLE."""
    role, folder = told.split(" ", 1)
    module, name = f"workerpool.{role}", role.capitalize()

    def trace() -> None:
        traced = getattr(sys.modules[module], name)
        untraced = traced.run

        def run(self: Any) -> int:
            sys.settrace(_tracer(Path(folder)))
            return int(untraced(self))

        traced.run = run

    after_import(module, trace)


def _tracer(folder: Path) -> Any:
    try:
        points = [Line(*each) for each in json.loads((folder / "points").read_text())]
    except FileNotFoundError:
        return _each_line(_writer(folder / "ran"))
    with open(folder / "taken", "ab") as taken:
        mine = taken.tell()
        taken.write(b".")
    return _each_line(_killer(points[mine], folder / "deaths")) if mine < len(points) else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _each_line(at: Callable[[CodeType, int], None]) -> Any:
    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            at(frame.f_code, frame.f_lineno)
        return line

    def call(frame: FrameType, _event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(_TRACED) else None

    return call


def _writer(path: Path) -> Callable[[CodeType, int], None]:
    ran = open(path, "a", buffering=1)  # noqa: SIM115  it lasts as long as the process
    return lambda code, line: print(f"{os.path.relpath(code.co_filename, ROOT)}:{line}", file=ran)


def _killer(point: Line, deaths: Path) -> Callable[[CodeType, int], None]:
    file, numbers = str(ROOT / point.file), count(1)
    written = os.open(deaths, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def at(code: CodeType, line: int) -> None:
        if line == point.line and code.co_filename == file and next(numbers) == point.number:
            os.write(written, b".")
            os.kill(os.getpid(), signal.SIGKILL)

    return at
