"""Running a handler by itself: the context a pool would give it, and what it reported."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
) -> Run:
    """A run of one job with `seconds` until its deadline."""
    reports: list[Any] = []
    enqueued: list[Mapping[str, Any]] = []
    job = Claimed(JOB_ID, "a-kind", "{}", attempt, fence, max_attempts, 30, 0.0, JOB_CREATED_AT, 0)
    context = Context(
        job,
        "default",
        time.monotonic() + seconds,
        is_cancelled,
        lambda _, value: reports.append(value),
        enqueued.append,
    )
    return Run(context, reports, enqueued)
