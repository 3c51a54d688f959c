"""What ended a lease, as the database has it, and which fault brought that about."""

import re
from collections.abc import Callable

from faults.harness.cast import LEASE_SECONDS
from faults.harness.events import Event
from faults.harness.evidence import Evidence, Injected, Worker

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
# Those that need no other's help, if it was that pool, or that worker, that they hit.
_ENOUGH = {
    _DIED: BROUGHT_BY[_DIED],
    _LOST: _KILLS | _LEAVES | (_STOPS - {"kill_steward", "busy_cores"}),
    _RELEASED: _LEAVES,
}
_OF_ONE_WORKER = frozenset({"kill_worker", "stop_worker"})
DEADLY = "the job kills its worker"
# A pool's steward sees at once who died, or its next one does; a lost worker's lease has to end, which a server that
# comes back puts off for as long again.
_AFTERMATH_SECONDS = {_DIED: 3.0, _LOST: 10.0, _RELEASED: 3.0}
# A steward beats three times a lease; whatever kept it from the first beat that is missing went on then.
_BEAT_SECONDS = LEASE_SECONDS / 3 + 0.5
_PID = re.compile(r"pid (\d+)")


def brought_by(evidence: Evidence, job: str, fence: int, began: float, cause: str) -> frozenset[str]:
    """Which faults can have repeated the effect of `began`. Of those that end a lease so: what hit its worker, or its
    worker's pool, hard enough; else all that hit it or everybody while it was there to be lost, and not too long before
    the lease ended. Of both those first that went on when the first beat was missing.
    """
    if cause not in BROUGHT_BY:
        return frozenset()
    if cause == _DIED and _killed(evidence, job, fence):
        return frozenset({"kill_worker"})
    if cause == _DIED and job in evidence.deadly:
        return frozenset({DEADLY})
    worker = _worker_of(evidence, job, fence)
    until = next((event.at for event in evidence.events[job] if event.at > began and event.step == "-running"), began)
    over = max(began, until - LEASE_SECONDS) - _AFTERMATH_SECONDS[cause]
    able = [
        each
        for each in evidence.faults
        if each.name in BROUGHT_BY[cause] and _at_work(each, over, until) and _may_have_hit(each, worker)
    ]
    enough = [each for each in able if worker and each.pool == worker.pool and each.name in _ENOUGH[cause]]
    # Of one that was lost it is known since when nobody heard of it.
    if worker and cause == _LOST:
        enough = [each for each in enough if _at_work(each, worker.heard_at, worker.heard_at + LEASE_SECONDS)]
        enough, able = _first(enough, worker), _first(able, worker)
    names = frozenset(each.name for each in enough or able)
    return names | {DEADLY} if names and job in evidence.deadly else names


def _first(faults: list[Injected], worker: Worker) -> list[Injected]:
    """Those that can have kept the first beat that is missing, if there are any."""
    return [each for each in faults if _at_work(each, worker.heard_at, worker.heard_at + _BEAT_SECONDS)] or faults


def _at_work(fault: Injected, since: float, until: float) -> bool:
    return fault.began <= until and fault.ended >= since


def _may_have_hit(fault: Injected, worker: Worker | None) -> bool:
    if worker is None:
        return True
    pids = set(map(int, _PID.findall(fault.whom)))
    if fault.name in _OF_ONE_WORKER and pids:
        return worker.pid in pids
    return fault.pool in (None, worker.pool)


def _killed(evidence: Evidence, job: str, fence: int) -> bool:
    """Whether a fault killed the very process that the record of the failure names."""
    victim = _PID.search(evidence.errors.get((job, fence), ""))
    kills = (fault.whom for fault in evidence.faults if fault.name == "kill_worker")
    return victim is not None and any(victim[1] in _PID.findall(whom) for whom in kills)


def _worker_of(evidence: Evidence, job: str, fence: int) -> Worker | None:
    """Who held it; None for a holder over HTTP."""
    claims = (event for event in evidence.events[job] if event.step == "+running" and event.fence == fence)
    identity = next((claim.worker_id for claim in claims), None)
    return None if identity is None else evidence.workers.get(identity)


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
