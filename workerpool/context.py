"""What a handler sees of the job it is running.

Built from two callables, so that a handler can be run, and tested, with neither a board nor a database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workerpool.outcomes import Cancelled


@dataclass(frozen=True, slots=True)
class JobView:
    """The facts of this run. `attempt` counts from 1; `fence` is fresh at each claim and never used again."""

    id: str
    kind: str
    queue: str
    attempt: int
    max_attempts: int
    fence: int


class Context:
    """Handed to every handler beside its payload.

    `job` holds the facts of this run, `deadline` is a reading of `time.monotonic()` in seconds: at it the handler is
    interrupted.
    """

    __slots__ = ("_is_cancelled", "_report", "deadline", "job")

    def __init__(
        self,
        job: JobView,
        deadline: float,
        is_cancelled: Callable[[], bool],
        report: Callable[[Any], None],
    ) -> None:
        self.job = job
        self.deadline = deadline
        self._is_cancelled = is_cancelled
        self._report = report

    @property
    def attempt(self) -> int:
        """Which attempt this is, counted from 1."""
        return self.job.attempt

    @property
    def last_attempt(self) -> bool:
        """True when a failure of this attempt makes the job a dead letter."""
        return self.job.attempt >= self.job.max_attempts

    def remaining(self) -> float:
        """Seconds until the deadline; 0 when it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def check_cancelled(self) -> None:
        """Call between steps. Reads shared memory only, so it is cheap enough for an inner loop.

        Raises Cancelled (a BaseException) once somebody asked for this job to be cancelled.
        """
        if self._is_cancelled():
            raise Cancelled

    def progress(self, value: Any) -> None:
        """Show how far the job is: any small JSON value, readable as `progress` of the job while it runs.

        The shipped kinds report `{"percent": 0 to 100, "step": text}`. Calls closer together than half a
        second are dropped.
        """
        self._report(value)
