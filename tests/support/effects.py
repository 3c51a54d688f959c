"""What handlers of the tests really did, written where no rollback reaches it, and the gates they wait at.

One line an effect, appended with a single write, so that lines of many processes stay whole and none is lost with the
process that wrote it.
"""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from support.waiting import until
from workerpool.context import Context

VARIABLE = "WINDLASS_TEST_EFFECTS"


@dataclass(frozen=True)
class Effect:
    """One thing a handler did. `at` is `time.monotonic()`, which all processes of a machine share; `looked` is what the
    worker read there just before it looked whether its lease holds and started the job.
    """

    what: str
    job: str
    attempt: int
    fence: int
    pid: int
    at: float
    looked: float


class Effects:
    """The log and the gates in `folder`. Tests read and open; handlers write and wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "log").touch()

    @classmethod
    def of_this_process(cls) -> "Effects":
        """In a handler: those of the test that started the pool."""
        return cls(Path(os.environ[VARIABLE]))

    def note(self, context: Context, what: str) -> None:
        """In a handler: one effect more."""
        job = context.job
        looked = context.deadline - context._claimed.timeout_seconds
        line = json.dumps([what, job.id, job.attempt, job.fence, os.getpid(), time.monotonic(), looked]) + "\n"
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_APPEND)
        os.write(log, line.encode())
        os.close(log)

    def all(self, what: str | None = None, jobs: Iterable[str] | None = None) -> list[Effect]:
        """In the order they were written."""
        wanted = None if jobs is None else set(jobs)
        # A line under way has no end yet.
        lines = (self.folder / "log").read_text().split("\n")[:-1]
        effects = [Effect(*json.loads(line)) for line in lines]
        return [
            effect
            for effect in effects
            if (what is None or effect.what == what) and (wanted is None or effect.job in wanted)
        ]

    def wait_for(self, what: str, job: str, times: int = 1, seconds: float = 10.0) -> Effect:
        """The `times`th such effect of the job, once it is there."""

        def enough() -> list[Effect]:
            effects = self.all(what, [job])
            return effects if len(effects) >= times else []

        return until(enough, seconds, f"{what} of job {job}, {times} times")[times - 1]

    def open_gate(self, job: str, attempt: int | None = None) -> None:
        """Lets the job's handler go on: in every attempt, or in one."""
        (self.folder / _gate(job, attempt)).touch()

    def is_open(self, context: Context) -> bool:
        """In a handler: it may go on."""
        job = context.job
        return any((self.folder / _gate(job.id, attempt)).exists() for attempt in (None, job.attempt))


def _gate(job: str, attempt: int | None) -> str:
    return f"gate {job}" if attempt is None else f"gate {job} {attempt}"
