"""What ended a lease, as the database has it, and which fault brought that about."""

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

_ENDS_PROCESSES = frozenset(
    {
        *("kill_worker", "kill_steward", "kill_supervisor", "kill_whole_pool", "drain_pool", "quit_pool"),
        *("replace_workers", "more_and_fewer_workers"),
    }
)
_STOPS_PROCESSES = frozenset({"stop_worker", "stop_steward", "stop_whole_pool", "busy_cores"})
_TO_HOLDERS = frozenset({"kill_holder", "stop_holder", "kill_web", "kill_web_worker", "stop_web_worker", "busy_cores"})
_TO_SESSIONS = frozenset(
    {
        *("terminate_backend", "terminate_all_backends", "cancel_statements", "kill_backend", "restart_server"),
        *("cut_links", "slow_links", "freeze_links", "fill_connections", "lock_table", "vacuum_full"),
    }
)
BROUGHT_BY = {
    "its worker died": _ENDS_PROCESSES,
    "its worker was lost": _ENDS_PROCESSES | _STOPS_PROCESSES | _TO_SESSIONS,
    "its lease expired": _TO_HOLDERS | _TO_SESSIONS,
    "released by one told to leave": _ENDS_PROCESSES | _STOPS_PROCESSES | _TO_HOLDERS | _TO_SESSIONS,
}
"""Which faults can end a lease so."""
DEADLY = "the job kills its worker"
# A server that comes back forgives every lease for as long as one lasts, and a slow machine is slow.
_AFTERMATH_SECONDS = 10.0


def brought_by(evidence: Evidence, job: str, began: float, cause: str) -> str | None:
    """The fault by which an effect of `began` was repeated: of those that can, and went on while it was there to be
    lost, the one that began last. None if there was no such fault.
    """
    if job in evidence.deadly:
        return DEADLY
    until = next((event.at for event in evidence.events[job] if event.at > began and event.step == "-running"), began)
    able = BROUGHT_BY.get(cause, frozenset())
    return max(
        (
            (fault_began, name)
            for name, fault_began, fault_ended in evidence.faults
            if name in able and fault_began <= until and began <= fault_ended + _AFTERMATH_SECONDS
        ),
        default=(0.0, None),
    )[1]


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
