"""What may happen to a job or a worker: one function an action, each yields all moves it allows in a state.

An action concerns one job, or one worker and no job. Each statement is one move, since each is one transaction; what a
worker does by itself, starting a job say, is another. `Rules.defects` names what is done wrong on purpose.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum, auto
from typing import NamedTuple

from faults.harness.model.states import (
    AWAKE,
    CORPSES,
    MARKED,
    Belief,
    Done,
    Job,
    Ready,
    Running,
    Stage,
    Worker,
    believing,
)

Workers = tuple[Worker, ...]


class Defect(StrEnum):
    """Something done wrong, which the invariants must find."""

    SETTLE_NAMES_NO_FENCE = auto()
    SETTLE_NAMES_NO_STATE = auto()
    ACK_KEEPS_THE_ROW = auto()
    FENCE_DOES_NOT_GROW = auto()
    CLAIM_TAKES_WHAT_RUNS = auto()
    COUNTED_AT_THE_FAILURE = auto()
    REQUEUED_PAST_MAX = auto()
    RELEASE_KEEPS_THE_ATTEMPT = auto()
    CRASH_GIVES_THE_ATTEMPT_BACK = auto()
    RESCUE_DOES_NOT_LOOK_AGAIN = auto()
    RESCUE_TAKES_FROM_THE_UNMARKED = auto()
    RESCUE_LOSES_THE_LAST = auto()
    NO_RESCUE = auto()
    EXTEND_NAMES_NO_FENCE = auto()
    EXTEND_WAKES_THE_LOST = auto()
    START_WITHOUT_A_LEASE = auto()
    CANCEL_ENDS_WHAT_RUNS = auto()
    CANCEL_CHANGES_THE_END = auto()
    ASTRAY_STAYS_ASTRAY = auto()


class Rules(NamedTuple):
    """What the actions go by."""

    max_attempts: int
    answers_lost: bool
    defects: frozenset[Defect] = frozenset()


NOBODY = -1


class Move(NamedTuple):
    """One thing that may happen: to a job, which then is `job`, or to workers, who then are `workers`.

    worker    whose move it is, if it is one's
    fence     the one that was named, if any
    verb      of a settle; of a cancel, what it is answered
    accepted  whether the statement did something
    answered  False when its answer is lost
    """

    action: str
    worker: int = NOBODY
    job: Job | None = None
    fence: int | None = None
    verb: str = ""
    accepted: bool = True
    answered: bool = True
    workers: Workers | None = None


_OF_THE_POOL = {
    Stage.STARTED: ("ack", "fail", "fail for good", "release", "ack_cancelled"),
    Stage.FINISHED: ("ack",),
    Stage.REVOKED: ("release",),
    Stage.LATE: ("ack", "fail", "fail for good", "release", "ack_cancelled"),
}
_OVER_HTTP = {
    Stage.CLAIMED: ("release",),
    Stage.STARTED: ("ack", "fail", "fail for good", "release"),
    Stage.LATE: ("ack", "fail", "fail for good", "release"),
}
# What the steward says of what it reads on the board: beside the living, who do not hear of it, and for the dead.
_BESIDE_THE_LIVING = {Stage.FINISHED: "ack", Stage.REVOKED: "release"}
_OF_THE_DEAD = {
    Stage.CLAIMED: ("release",),
    Stage.STARTED: ("fail",),
    Stage.FINISHED: ("ack",),
    Stage.REVOKED: ("release",),
    Stage.LATE: ("ack", "fail", "release"),
}


def claim(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """Takes a ready job. A worker may be late for that too: its claim was under way when its lease ended."""
    waits = job.ready or (job.running if Defect.CLAIM_TAKES_WHAT_RUNS in rules.defects else None)
    fence = max(1, job.fence) if Defect.FENCE_DOES_NOT_GROW in rules.defects else job.fence + 1
    for worker, status in enumerate(workers):
        if status not in AWAKE or job.beliefs[worker]:
            continue
        if waits is None:
            yield Move("claim", worker, job, accepted=False)
            continue
        attempts = waits.attempts if Defect.COUNTED_AT_THE_FAILURE in rules.defects else waits.attempts + 1
        row = Running(attempts, fence, worker)
        taken = job._replace(ready=None, running=row, fence=fence, spent=job.spent + 1)
        yield Move("claim", worker, believing(taken, worker, Belief(fence, Stage.CLAIMED)))
        if rules.answers_lost:
            yield Move("claim", worker, taken, answered=False)


def start(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """Begins to work. A worker of the pool looks at the board first; a client's clock is its own business."""
    anyone = Defect.START_WITHOUT_A_LEASE in rules.defects
    for worker, belief, status in _believers(workers, job):
        if belief.stage is Stage.CLAIMED and (status in (Worker.ALIVE, Worker.HTTP) or (anyone and status in AWAKE)):
            begun = believing(job, worker, belief._replace(stage=Stage.STARTED))
            yield Move("start", worker, begun._replace(starts=job.starts + 1), fence=belief.fence)


def finish(_rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """A handler of the pool succeeds, which stands on the board until it is written."""
    for worker, belief, status in _believers(workers, job):
        if belief.stage is Stage.STARTED and status in AWAKE and status is not Worker.HTTP:
            yield Move("finish", worker, believing(job, worker, belief._replace(stage=Stage.FINISHED)))


def revoke(_rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """What has not begun is not to begin any more: the worker leaves, or the steward takes it from it."""
    for worker, belief, status in _believers(workers, job):
        if belief.stage is Stage.CLAIMED and status is not Worker.HTTP and status not in CORPSES:
            yield Move("revoke", worker, believing(job, worker, belief._replace(stage=Stage.REVOKED)))


def settle(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """The holder says what became of the job, or the steward says it instead."""
    for worker, belief, status in _believers(workers, job):
        if status in AWAKE:
            for verb in (_OVER_HTTP if status is Worker.HTTP else _OF_THE_POOL).get(belief.stage, ()):
                # A handler stops because it was asked to.
                if verb != "ack_cancelled" or belief.fence != 1 or (job.running and job.running.cancel):
                    yield from _told(rules, "settle", job, worker, verb)
        if rules.answers_lost and status not in CORPSES and belief.stage in _BESIDE_THE_LIVING:
            verb = _BESIDE_THE_LIVING[belief.stage]
            after = settled(rules, job, worker, belief.fence, verb)
            if after:
                yield Move("settle", worker, after, belief.fence, verb, answered=False)


def bury(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """The steward settles what a dead worker left on the board."""
    for worker, belief, status in _believers(workers, job):
        if status in CORPSES:
            for verb in _OF_THE_DEAD[belief.stage]:
                if verb == "fail" and Defect.CRASH_GIVES_THE_ATTEMPT_BACK in rules.defects:
                    verb = "release"
                yield from _told(rules, "bury", job, worker, verb)


def _told(rules: Rules, action: str, job: Job, worker: int, verb: str) -> Iterator[Move]:
    belief = job.beliefs[worker]
    assert belief is not None
    after = settled(rules, job, worker, belief.fence, verb)
    accepted = after is not None
    then = after or job
    yield Move(action, worker, believing(then, worker, None), belief.fence, verb, accepted)
    if accepted and rules.answers_lost:
        yield Move(action, worker, then, belief.fence, verb, answered=False)


def give_back(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """The steward releases what a worker holds and no board shows: the answer to its claim was lost."""
    row = job.running
    if row is None or Defect.ASTRAY_STAYS_ASTRAY in rules.defects:
        return
    if workers[row.holder] is not Worker.HTTP and job.beliefs[row.holder] is None:
        after = settled(rules, job, row.holder, row.fence, "release")
        yield Move("give back", row.holder, after, row.fence, "release")


def settled(rules: Rules, job: Job, worker: int, fence: int, verb: str) -> Job | None:
    """The job after a settle, None when it is refused."""
    row = job.running
    if row is None:
        if job.done and verb == "ack" and Defect.SETTLE_NAMES_NO_STATE in rules.defects:
            return job._replace(done=Done("succeeded", job.done.attempts))
        return None
    if (row.fence, row.holder) != (fence, worker) and Defect.SETTLE_NAMES_NO_FENCE not in rules.defects:
        return None
    gone = job._replace(running=None)
    if verb == "ack":
        kept = job if Defect.ACK_KEEPS_THE_ROW in rules.defects else gone
        return kept._replace(done=Done("succeeded", row.attempts))
    if verb == "ack_cancelled":
        return gone._replace(done=Done("cancelled", row.attempts))
    if verb == "release":
        attempts = row.attempts if Defect.RELEASE_KEEPS_THE_ATTEMPT in rules.defects else row.attempts - 1
        given_back = gone._replace(spent=job.spent - 1)
        if row.cancel:
            return given_back._replace(done=Done("cancelled", attempts))
        return given_back._replace(ready=Ready(attempts))
    if verb == "fail for good":
        return gone._replace(done=Done("failed_permanent", row.attempts))
    return _failed(rules, job, row)


def _failed(rules: Rules, job: Job, row: Running) -> Job:
    """After an attempt that failed, whoever says so."""
    gone = job._replace(running=None)
    attempts = row.attempts + 1 if Defect.COUNTED_AT_THE_FAILURE in rules.defects else row.attempts
    if attempts >= rules.max_attempts and Defect.REQUEUED_PAST_MAX not in rules.defects:
        return gone._replace(done=Done("failed_permanent", attempts))
    if row.cancel:
        return gone._replace(done=Done("cancelled", attempts))
    return gone._replace(ready=Ready(attempts))


def extend(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """A client moves its lease's end, run out or not, as long as nobody took it back. Refused, it gives up."""
    for worker, belief, status in _believers(workers, job):
        if status is Worker.HTTP:
            row = job.running
            if row and (row.fence == belief.fence or Defect.EXTEND_NAMES_NO_FENCE in rules.defects):
                longer = job._replace(running=row._replace(expired=False))
                yield Move("extend", worker, longer, belief.fence)
            else:
                yield Move("extend", worker, believing(job, worker, None), belief.fence, accepted=False)


def forget(_rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """A client dies, or was never told what it had claimed."""
    for worker, _, status in _believers(workers, job):
        if status is Worker.HTTP:
            yield Move("forget", worker, believing(job, worker, None))


def run_out(_rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """The end of an HTTP lease passes."""
    row = job.running
    if row and workers[row.holder] is Worker.HTTP and not row.expired:
        yield Move("run out", row.holder, job._replace(running=row._replace(expired=True)))


def rescue(rules: Rules, workers: Workers, job: Job) -> Iterator[Move]:
    """Takes back a lease over HTTP that ran out, or one of a worker marked lost, and no other."""
    row = job.running
    taken_from = MARKED
    if Defect.RESCUE_TAKES_FROM_THE_UNMARKED in rules.defects:
        taken_from = MARKED | {Worker.EXPIRED}
    over = row is not None and (row.expired or workers[row.holder] in taken_from)
    if Defect.RESCUE_DOES_NOT_LOOK_AGAIN in rules.defects and not job.doomed:
        if over:
            yield Move("rescue looks", job=job._replace(doomed=True))
    elif row and (over or job.doomed) and Defect.NO_RESCUE not in rules.defects:
        taken = _failed(rules, job, row)._replace(doomed=False)
        if taken.done and Defect.RESCUE_LOSES_THE_LAST in rules.defects:
            taken = taken._replace(done=None)
        yield Move("rescue", job=taken)
    else:
        yield Move("rescue", job=job._replace(doomed=False), accepted=False)


def cancel(rules: Rules, _workers: Workers, job: Job) -> Iterator[Move]:
    """Ends a waiting job, flags a running one, leaves an ended one alone."""
    waits = job.ready or (job.running if Defect.CANCEL_ENDS_WHAT_RUNS in rules.defects else None)
    if waits:
        ended = job._replace(ready=None, running=None, done=Done("cancelled", waits.attempts))
        yield Move("cancel", job=ended, verb="cancelled")
    elif job.running:
        yield Move("cancel", job=job._replace(running=job.running._replace(cancel=True)), verb="flagged")
    elif job.done:
        changed = job._replace(done=Done("cancelled", job.done.attempts))
        after = changed if Defect.CANCEL_CHANGES_THE_END in rules.defects else job
        yield Move("cancel", job=after, verb="terminal", accepted=False)


OF_JOBS: tuple[Callable[[Rules, Workers, Job], Iterator[Move]], ...] = (
    claim, start, finish, revoke, settle, bury, give_back, extend, forget, run_out, rescue, cancel,
)  # fmt: skip


def _believers(workers: Workers, job: Job) -> Iterator[tuple[int, Belief, Worker]]:
    for worker, belief in enumerate(job.beliefs):
        if belief:
            yield worker, belief, workers[worker]
