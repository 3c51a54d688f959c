"""What may be asked about jobs, and what then happens to them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import sql.dead_letters
import sql.jobs
from app.depth_limit import Admission, DepthLimit
from app.problems import Conflict, Invalid, Unavailable, no_job
from sql.connection import Connection
from sql.jobs import Enqueued, NewJob
from sql.rows import Job, Status
from workerpool.kinds import requests
from workerpool.kinds.registry import PayloadInvalid, Registry, UnknownKind


class Rules(NamedTuple):
    """What a request is judged by: the registered kinds, the timeout of a job whose kind names none, and how many jobs
    may wait in a queue.
    """

    kinds: Registry
    timeout_seconds: int
    depth: DepthLimit | None = None


class Page(NamedTuple):
    """A page of jobs, newest first, and where the next one starts (None at the end)."""

    jobs: list[Job]
    next_cursor: str | None


def prepare(rules: Rules, asked: Mapping[str, Any], key: str | None = None) -> NewJob:
    """The job that `asked` (as `NewJobSchema` loads it) describes; `key` beats the one in it.

    Raises Invalid for an unknown kind and for a payload not of its kind's shape.
    """
    try:
        return NewJob(**requests.prepare(rules.kinds, rules.timeout_seconds, asked, key)._asdict())
    except UnknownKind as error:
        known = ", ".join(rules.kinds.names())
        raise Invalid(
            f"payload validation failed for {error.name}: kind: there is no such kind; known: {known}",
            details={"kind": [f"there is no such kind; known: {known}"]},
        ) from error
    except PayloadInvalid as error:
        raise Invalid(str(error), details=error.messages) from error


def enqueue(conn: Connection, rules: Rules, asked: Mapping[str, Any], key: str | None = None) -> tuple[Job, bool]:
    """Stores one job, or finds the one its key already made; True if it is new.

    Raises Invalid, Conflict when the key was used with another request, and Unavailable when the queue is full.
    """
    job = prepare(rules, asked, key)
    with admitted(conn, rules, job.queue) as admission:
        (outcome,) = sql.jobs.enqueue_shown(conn, [job])
        admission.stored = int(isinstance(outcome, Job))
    if isinstance(outcome, Job):
        return outcome, True
    if not outcome.same_request:
        raise key_conflict()
    return _found(conn, outcome), False


@contextmanager
def admitted(conn: Connection, rules: Rules, queue: str) -> Iterator[Admission]:
    """Room for another job in `queue` while it is being stored. Raises Unavailable when there is none."""
    if rules.depth is None:
        yield Admission(1)
        return
    with rules.depth.admit(conn, queue) as admission:
        if not admission.jobs:
            raise queue_full(queue, rules.depth.limit)
        yield admission


def queue_full(queue: str, limit: int) -> Unavailable:
    """As many jobs wait as may."""
    return Unavailable(f"queue {queue} is full: {limit} jobs wait in it (MAX_QUEUE_DEPTH); come back later", 5)


def key_conflict() -> Conflict:
    """A key was used with another request."""
    return Conflict("idempotency_key: was used with a different request")


def find(conn: Connection, job_id: str) -> Job:
    """One job. Raises NotFound."""
    job = sql.jobs.find(conn, job_id.lower())
    if job is None:
        raise no_job(job_id)
    return job


def page(conn: Connection, rules: Rules, asked: Mapping[str, Any]) -> Page:
    """The jobs that pass `asked` (as `JobFilterSchema` loads it). Raises Invalid."""
    kind = asked.get("kind")
    if kind is not None and kind not in rules.kinds.names():
        raise Invalid.of({"kind": [f"must be one of {', '.join(rules.kinds.names())}"]})
    if asked.get("cursor") and asked["offset"]:
        raise Invalid.of({"cursor": ["cannot be combined with offset"]})
    jobs, more = sql.jobs.page(
        conn,
        status=Status(asked["status"]) if asked.get("status") else None,
        kind=kind,
        queue=asked.get("queue"),
        limit=asked["limit"],
        offset=asked["offset"],
        before=asked.get("cursor"),
    )
    return Page(jobs, jobs[-1].id if more else None)


def cancel(conn: Connection, job_id: str) -> bool:
    """Cancels a job: True if it has ended with that, False if its holder will see it. Raises NotFound, Conflict."""
    outcome = sql.jobs.cancel(conn, job_id.lower())
    if outcome == "missing":
        raise no_job(job_id)
    if outcome == "terminal":
        raise Conflict(f"job {job_id.lower()} has already ended")
    return outcome == "cancelled"


def retry(conn: Connection, job_id: str) -> Job:
    """Queues an ended, not succeeded job once more, attempts 0. Raises NotFound, Conflict."""
    outcome = sql.dead_letters.retry(conn, job_id.lower())
    if outcome == "missing":
        raise no_job(job_id)
    if outcome == "conflict":
        raise Conflict(f"job {job_id.lower()} is neither failed_permanent nor cancelled")
    return find(conn, job_id)


def _found(conn: Connection, enqueued: Enqueued) -> Job:
    job = sql.jobs.find(conn, enqueued.id)
    if job is None:
        # Retention took it between the two statements.
        raise Unavailable("the job of this key has just been removed; try again")
    return job
