"""What a handler sees of the job it is running.

Built from callables, so that a handler can be run, and tested, with neither a board nor a database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from workerpool.outcomes import Cancelled

if TYPE_CHECKING:
    from sql.rows import Claimed


class EnqueueRefused(ValueError):
    """A follow-up that can never be a job; the text names the field and says what is wrong with it."""


class JobView(NamedTuple):
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

    __slots__ = ("_claimed", "_claimed_at", "_enqueue", "_is_cancelled", "_queue", "_report", "deadline")

    def __init__(
        self,
        claimed: Claimed,
        queue: str,
        deadline: float,
        is_cancelled: Callable[[], bool],
        report: Callable[[Claimed, Any], None],
        enqueue: Callable[[Mapping[str, Any]], None],
        claimed_at: float,
    ) -> None:
        self.deadline = deadline
        self._claimed = claimed
        self._claimed_at = claimed_at
        self._queue = queue
        self._is_cancelled = is_cancelled
        self._report = report
        self._enqueue = enqueue

    @property
    def job(self) -> JobView:
        """The facts of this run, put together when asked for: few handlers do, and it takes 0.4 µs."""
        claimed = self._claimed
        return JobView(claimed.id, claimed.kind, self._queue, claimed.attempt, claimed.max_attempts, claimed.fence)

    @property
    def attempt(self) -> int:
        """Which attempt this is, counted from 1."""
        return self._claimed.attempt

    @property
    def last_attempt(self) -> bool:
        """True when a failure of this attempt makes the job a dead letter."""
        return self._claimed.attempt >= self._claimed.max_attempts

    def remaining(self) -> float:
        """Seconds until the deadline; 0 when it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def now(self) -> datetime:
        """The time by the database's clock, in UTC, to within the claim's round trip: our own may be wrong."""
        claimed = self._claimed
        since_due = claimed.waited_seconds + time.monotonic() - self._claimed_at
        return datetime.fromisoformat(claimed.run_at).astimezone(UTC) + timedelta(seconds=since_due)

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
        self._report(self._claimed, value)

    def enqueue(
        self,
        kind: str,
        payload: Any,
        *,
        queue: str | None = None,
        priority: int | None = None,
        run_at: datetime | str | None = None,
        max_attempts: int | None = None,
        timeout_seconds: int | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Enqueue a follow-up: a job that will exist exactly if the handler itself brings this one to its end.

        When the handler returns, or ends the job with `Dead`, that end and all follow-ups are written in one
        transaction: both or neither. After anything else (`Retry`, any other exception, the deadline, a cancel, a lost
        lease, a killed process) they are forgotten: the next attempt enqueues them again.

        The arguments are the fields of `POST /jobs`, checked at once by the same rules, and what is left out comes
        from the kind. `run_at` may also be a datetime with a time zone. At most 1,000 a job; each payload at most
        1 MiB of JSON, all together 8 MiB.

        A key lives as on `POST /jobs`. If it has already made a job of the same request, that is the follow-up. If it
        was used with another request, the job still ends, since its effects have happened and running it again would
        meet the same key: the follow-up alone is left out, with a warning in the log. So build a key and what it
        stands for from the job (`run_at` too), not from the time of the attempt.

        Raises EnqueueRefused (a ValueError).
        """
        self._enqueue(
            {
                "kind": kind,
                "payload": payload,
                "queue": queue,
                "priority": priority,
                "run_at": run_at,
                "max_attempts": max_attempts,
                "timeout_seconds": timeout_seconds,
                "idempotency_key": idempotency_key,
            }
        )
