"""What clients asked for and what they were answered, in a file of their own: no rollback reaches it.

A line stands before its request is sent, another when it is answered; one write a line, so that lines of many threads
and processes stay whole. `n` numbers the jobs asked for and stands in each job's payload, where the checker finds it.
"""

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Entry:
    """One job asked for. `key` None: asked for once, so that an unanswered request is one job or none.

    `answers` are the ids it was answered with; `refused` the statuses of answers that made no job; `due` when it
    may run at the earliest, in seconds since 1970, 0 for at once.
    """

    n: int
    way: str
    kind: str
    key: str | None
    due: float
    answers: set[str] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    unknown: int = 0

    @property
    def accepted(self) -> bool:
        return bool(self.answers)


class Ledger:
    """Writes and reads one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """The next job's."""
        return next(self._numbers)

    def asked(self, entries: Sequence[Entry]) -> None:
        """About to be sent."""
        self._write(["asked", [[each.n, each.way, each.kind, each.key, each.due] for each in entries]])

    def accepted(self, jobs: Sequence[tuple[int, str]]) -> None:
        """(n, id) of jobs that a client was told exist."""
        self._write(["accepted", list(jobs)])

    def refused(self, numbers: Sequence[int], status: int) -> None:
        """Told that there is none."""
        self._write(["refused", list(numbers), status])

    def unknown(self, numbers: Sequence[int], why: str) -> None:
        """No answer came."""
        self._write(["unknown", list(numbers), why])

    def noted(self, what: str, job: str) -> None:
        """Anything else a client is about to do to a job: `redrive`, `cancel`."""
        self._write([what, job])

    def _write(self, line: Any) -> None:
        os.write(self._file, (json.dumps(line) + "\n").encode())

    def read(self) -> tuple[dict[int, Entry], dict[str, list[str]]]:
        """The entries by number, and the jobs of each thing noted."""
        entries: dict[int, Entry] = {}
        notes: dict[str, list[str]] = {}
        for line in self.path.read_text().splitlines():
            what, *rest = json.loads(line)
            if what == "asked":
                entries |= {terms[0]: Entry(*terms) for terms in rest[0]}
            elif what == "accepted":
                for n, job in rest[0]:
                    entries[n].answers.add(job)
            elif what == "refused":
                for n in rest[0]:
                    entries[n].refused.add(rest[1])
            elif what == "unknown":
                for n in rest[0]:
                    entries[n].unknown += 1
            else:
                notes.setdefault(what, []).append(rest[0])
        return entries, notes
