"""What ended a lease, as the database has it."""

from collections.abc import Callable

from faults.harness.events import Event
from faults.harness.evidence import Evidence

CAUSES: dict[str, Callable[[str], bool]] = {
    "its worker died": lambda error: error.startswith("worker ") and "while running this job" in error,
    "its worker was lost": lambda error: error.startswith("worker lost"),
    "its lease expired": lambda error: error == "lease expired",
    # The handler said so itself: not a repetition but another attempt.
    "settled by its holder": lambda _: True,
}


def end_of(evidence: Evidence, job: str, fence: int, after: Event | None) -> str:
    """What ended a lease."""
    error = evidence.errors.get((job, fence))
    if error is not None:
        return next(cause for cause, holds in CAUSES.items() if holds(error))
    if after is None:
        return "unknown"
    return "settled by its holder" if after.step == "+done" else "released by one told to leave"


def was_taken_back(error: str) -> bool:
    """Whether a failure was written by somebody who took the lease away."""
    return any(CAUSES[cause](error) for cause in ("its worker was lost", "its lease expired"))
