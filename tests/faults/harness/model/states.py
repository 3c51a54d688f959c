"""What the model knows of a job, of those who hold jobs, and of what each of them believes.

A state is the workers and the jobs. Of the database it has what decides a transition: which of the three tables a job
is in, its attempts, the fence it runs under, who holds it, whether its HTTP lease ran out, whether a cancel was asked
for. Of a worker it has what no database knows: whether it is awake, and for each job what it believes to hold.

Fences are kept by rank, since statements only ask whether two are equal: 1 is the fence a job runs under, 0 any before
it. So however often a job is released and claimed again, its states are finite, and no bound on releases is needed.
What a worker would still say under a fence that is over is always refused, so then only two stages are told apart:
claimed, since an HTTP client may begin even then, and late.
"""

from enum import StrEnum, auto
from typing import NamedTuple


class Worker(StrEnum):
    """A worker of the pool, whose lease is its heartbeat, or a holder of leases over HTTP.

    HTTP     a client: asleep, awake or dead, it is the same to us, since each of its leases has an end of its own
    ALIVE    beaten; the only one of the pool that may start a job
    PAUSED   its process is stopped, its lease still holds
    EXPIRED  not beaten for as long as its lease, and nobody noticed; awake or not
    LOST     marked lost; awake or not
    DEAD     its process is gone, and what it held stands on the board; its lease has as good as run out
    GONE     dead and marked lost
    """

    HTTP = auto()
    ALIVE = auto()
    PAUSED = auto()
    EXPIRED = auto()
    LOST = auto()
    DEAD = auto()
    GONE = auto()


# Who may be awake: one that sleeps is one whose turn does not come.
AWAKE = {Worker.HTTP, Worker.ALIVE, Worker.EXPIRED, Worker.LOST}
CORPSES = {Worker.DEAD, Worker.GONE}
# Whose jobs anybody may take back.
MARKED = {Worker.LOST, Worker.GONE}


class Stage(StrEnum):
    """How far the holder of a job has come with it.

    CLAIMED   not begun
    STARTED   its handler has begun, perhaps ended, and the outcome is not written
    FINISHED  succeeded, and stands so on the board until it is written
    REVOKED   not begun and never to be, but to be given back
    LATE      as the last three, under a fence that is over
    """

    CLAIMED = auto()
    STARTED = auto()
    FINISHED = auto()
    REVOKED = auto()
    LATE = auto()


class Belief(NamedTuple):
    """What a worker believes to hold of a job."""

    fence: int
    stage: Stage


class Ready(NamedTuple):
    """A row of `ready`."""

    attempts: int


class Running(NamedTuple):
    """A row of `running`; `expired` is about leases over HTTP only."""

    attempts: int
    fence: int
    holder: int
    expired: bool = False
    cancel: bool = False


class Done(NamedTuple):
    """A row of `done`."""

    end: str
    attempts: int


class Job(NamedTuple):
    """A job: its rows, and what is remembered beside them only to judge them by.

    fence    the last one given out
    spent    claims less give-backs, counted by themselves
    starts   how often a handler began, up to as many as are told apart
    doomed   somebody has seen its lease end and will take it back; never unless that defect is planted
    beliefs  of each worker, None if it believes to hold nothing of this job
    """

    ready: Ready | None
    running: Running | None
    done: Done | None
    fence: int
    spent: int
    starts: int
    doomed: bool
    beliefs: tuple[Belief | None, ...]


class State(NamedTuple):
    """All there is at one moment."""

    workers: tuple[Worker, ...]
    jobs: tuple[Job, ...]


class Instance(NamedTuple):
    """How large a model is; `answers_lost`: a statement may be carried out and its answer never arrive."""

    jobs: int
    pool_workers: int
    http_holders: int
    max_attempts: int = 2
    answers_lost: bool = False
    starts_told_apart: int = 1

    def first(self) -> State:
        """All jobs wait and all workers live."""
        holders = self.pool_workers + self.http_holders
        job = Job(Ready(0), None, None, fence=0, spent=0, starts=0, doomed=False, beliefs=(None,) * holders)
        workers = (Worker.ALIVE,) * self.pool_workers + (Worker.HTTP,) * self.http_holders
        return State(workers, (job,) * self.jobs)


def believing(job: Job, worker: int, belief: Belief | None) -> Job:
    """The job, of which the worker believes this from now on."""
    return job._replace(beliefs=(*job.beliefs[:worker], belief, *job.beliefs[worker + 1 :]))


def holders(job: Job) -> int:
    """Who holds the job or believes to, one bit a worker."""
    bits = sum(1 << worker for worker, belief in enumerate(job.beliefs) if belief)
    return bits | (1 << job.running.holder if job.running else 0)


def by_rank(job: Job, starts_told_apart: int) -> Job:
    """The same job, its fences by rank, and what makes no difference any more forgotten."""
    now = job.running.fence if job.running else None
    return job._replace(
        running=job.running and job.running._replace(fence=1),
        fence=min(job.fence, 1),
        starts=min(job.starts, starts_told_apart),
        beliefs=tuple(belief and _ranked(belief, now) for belief in job.beliefs),
    )


def _ranked(belief: Belief, now: int | None) -> Belief:
    if belief.fence == now:
        return belief._replace(fence=1)
    return Belief(0, Stage.CLAIMED if belief.stage is Stage.CLAIMED else Stage.LATE)
