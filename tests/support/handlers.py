"""Running a handler by itself: the context a pool would give it, and what it reported."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sql.rows import Claimed
from workerpool.context import Context

# A UUIDv7 of 2024-07-11T12:00:00.000Z.
JOB_ID = "0190a1aa-2200-7def-8a11-0123456789ab"
JOB_CREATED_AT = "2024-07-11T12:00:00.000Z"


@dataclass
class Run:
    """A context, what was reported to it and what it was asked to enqueue."""

    context: Context
    reports: list[Any] = field(default_factory=list)
    enqueued: list[Mapping[str, Any]] = field(default_factory=list)


def a_run(
    *,
    attempt: int = 1,
    max_attempts: int = 3,
    seconds: float = 30.0,
    is_cancelled: Callable[[], bool] = lambda: False,
    fence: int = 7,
    waited_seconds: float | None = None,
    run_at: str = JOB_CREATED_AT,
) -> Run:
    """A run of one job with `seconds` until its deadline, claimed now; `waited_seconds` since it was due, by default so
    many that the database's clock says the same as this machine's.
    """
    reports: list[Any] = []
    enqueued: list[Mapping[str, Any]] = []
    if waited_seconds is None:
        waited_seconds = time.time() - datetime.fromisoformat(JOB_CREATED_AT).timestamp()
    job = Claimed(JOB_ID, "a-kind", "{}", attempt, fence, max_attempts, 30, waited_seconds, run_at, 0)
    context = Context(
        job,
        "default",
        time.monotonic() + seconds,
        is_cancelled,
        lambda _, value: reports.append(value),
        enqueued.append,
        time.monotonic(),
    )
    return Run(context, reports, enqueued)
