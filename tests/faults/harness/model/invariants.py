"""Invariants 3 to 6 of the design, of a job in a state and of a job over a move. Problems are sentences.

3  exactly one state, and one end that never changes
4  at most one settle a fence is accepted, and a stale fence changes nothing
5  one live lease, and fences grow
6  0 ≤ attempts ≤ max_attempts; crashes count, give-backs do not
"""

from collections.abc import Iterator

from faults.harness.model.actions import Move, Rules, Workers
from faults.harness.model.states import MARKED, Job, Stage, Worker

SETTLES = {"settle", "bury", "give back"}


def of_state(rules: Rules, job: Job) -> Iterator[str]:
    """What is wrong with a job."""
    states = [row for row in (job.ready, job.running, job.done) if row is not None]
    if len(states) != 1:
        yield f"3: in {len(states)} states"
        return
    attempts = states[0].attempts
    if not 0 <= attempts <= rules.max_attempts:
        yield f"6: {attempts} attempts of {rules.max_attempts}"
    if job.ready and attempts == rules.max_attempts:
        yield "6: waits for one attempt too many"
    if attempts != job.spent:
        yield f"6: {attempts} attempts, though {job.spent} claims were not given back"
    if job.done and job.done.end == "succeeded" and not job.starts:
        yield "7: succeeded and never started"
    row = job.running
    for worker, belief in enumerate(job.beliefs):
        if row and belief and belief.fence == row.fence and worker != row.holder:
            yield f"5: worker {worker} too believes to hold the lease"


def of_move(workers: Workers, before: Job, move: Move) -> Iterator[str]:
    """What is wrong with how a job changes. Fences are the real ones before and after, not yet by rank again."""
    after = move.job
    assert after is not None
    changed = (before.ready, before.running, before.done) != (after.ready, after.running, after.done)
    if before.done and changed:
        yield "3: an end changed"
    yield from _of_fences(workers, before, after, move, changed=changed)
    yield from _of_leases(workers, before, after, move)
    if any((after.ready, after.running, after.done)) and _attempts(after) < _attempts(before):
        if move.verb != "release" or not move.accepted:
            yield "6: an attempt was given back, and nobody released it"
        elif move.action == "bury" and (belief := before.beliefs[move.worker]) and belief.stage is Stage.STARTED:
            yield "6: a crash was not counted"


def _of_fences(workers: Workers, before: Job, after: Job, move: Move, *, changed: bool) -> Iterator[str]:
    row = before.running
    if move.action in SETTLES or (move.action == "extend" and move.fence is not None):
        holds = row is not None and (row.fence, row.holder) == (move.fence, move.worker)
        if holds and not move.accepted:
            yield "4: the holder was refused"
        if not holds and (changed or move.accepted):
            yield "4: a stale fence changed something"
    if move.action in SETTLES and move.accepted and after.running and after.running.fence == move.fence:
        yield "4: settled, and its fence is as good as before"
    lost = row is None or row.fence != move.fence
    if move.action == "start" and workers[move.worker] is not Worker.HTTP and lost:
        yield "5: a worker started what it had lost"
    if move.action == "claim" and move.accepted:
        given = [before.fence, *(belief.fence for belief in before.beliefs if belief)]
        if after.fence <= max(given):
            yield f"5: fence {after.fence} after {max(given)}"


def _of_leases(workers: Workers, before: Job, after: Job, move: Move) -> Iterator[str]:
    row = before.running
    if row is None or (after.running and after.running.fence == row.fence):
        return
    over = row.expired or workers[row.holder] in MARKED
    by_itself = move.action in SETTLES and move.fence == row.fence
    if not by_itself and not (move.action == "rescue" and over):
        yield f"5: {move.action} ended a live lease"


def _attempts(job: Job) -> int:
    return max((row.attempts for row in (job.done, job.running, job.ready) if row), default=0)
