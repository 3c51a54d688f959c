"""What ended a lease, as the database has it, and which fault brought that about."""

import re
from collections.abc import Callable

from faults.harness.cast import LEASE_SECONDS
from faults.harness.events import Event
from faults.harness.evidence import Evidence

CAUSES: dict[str, Callable[[str], bool]] = {
    "its worker died": lambda error: error.startswith("worker ") and "while running this job" in error,
    "its worker was lost": lambda error: error.startswith("worker lost"),
    "its lease expired": lambda error: error == "lease expired",
    # The handler said so itself: not a repetition but another attempt.
    "settled by its holder": lambda _: True,
}

_DIED, _LOST, _RELEASED = "its worker died", "its worker was lost", "released by one told to leave"
_KILLS = frozenset({"kill_worker", "kill_supervisor", "kill_whole_pool"})
_LEAVES = frozenset({"drain_pool", "quit_pool", "replace_workers", "more_and_fewer_workers", "kill_supervisor"})
_STOPS = frozenset({"stop_worker", "stop_steward", "kill_steward", "stop_whole_pool", "busy_cores"})
_TO_SESSIONS = frozenset(
    {
        *("terminate_backend", "terminate_all_backends", "cancel_statements", "kill_backend", "restart_server"),
        *("cut_links", "slow_links", "freeze_links", "fill_connections", "lock_table", "vacuum_full"),
    }
)
# Whose lease expires by itself leases over HTTP, and those tell nobody what they did.
BROUGHT_BY = {
    _DIED: _KILLS | _LEAVES,
    _LOST: _KILLS | _LEAVES | _STOPS | _TO_SESSIONS,
    _RELEASED: _LEAVES,
}
"""Which faults can end a lease so under an effect."""
DEADLY = "the job kills its worker"
# A pool's steward sees at once who died, or its next one does; a lost worker's lease has to end, which a server that
# comes back puts off for as long again.
_AFTERMATH_SECONDS = {_DIED: 3.0, _LOST: 10.0, _RELEASED: 3.0}
_PID = re.compile(r"\((pid \d+)\)")


def brought_by(evidence: Evidence, job: str, fence: int, began: float, cause: str) -> frozenset[str]:
    """Which faults can have repeated the effect of `began`: of those that end a lease so, all that went on while it was
    there to be lost, and not too long before the lease ended. The one whose pid the record names is alone.
    """
    if cause not in BROUGHT_BY:
        return frozenset()
    victim = _PID.search(evidence.errors.get((job, fence), ""))
    if victim and any(fault.name == "kill_worker" and fault.whom == victim[1] for fault in evidence.faults):
        return frozenset({"kill_worker"})
    if job in evidence.deadly and cause == _DIED:
        return frozenset({DEADLY})
    until = next((event.at for event in evidence.events[job] if event.at > began and event.step == "-running"), began)
    over = max(began, until - LEASE_SECONDS) - _AFTERMATH_SECONDS[cause]
    able = BROUGHT_BY[cause] & {each.name for each in evidence.faults if each.began <= until and each.ended >= over}
    return able | {DEADLY} if able and job in evidence.deadly else able


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
