"""Work over HTTP: enqueue for it, take it under a lease, and say what became of it."""

import json
import random
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import sql.jobs
import sql.leases
from app.problems import Conflict, Invalid, NotFound, no_job
from app.schemas.leases import DEFAULT_RETRY_MS
from app.services.jobs import Rules, admitted, key_conflict, prepare
from sql.connection import Connection
from sql.errors import StorageError
from sql.leases import START, Failure, Lease, Pick, Settled, Stream
from sql.rows import Leased
from workerpool.kinds import documents
from workerpool.kinds.text import clean_text

_DEFAULT_KIND = "external"
_DEFAULT_MAX_ATTEMPTS = 5
_TOKEN = re.compile(r"([1-9][0-9]{0,17})-([0-9a-f]{8})", re.ASCII)
# Each try that finds nothing but poison has buried some of it.
_POISON_TRIES = 10
# As many of the largest that a request can bring fit; how many more do is told by the size of these.
_FIRST_CLAIM = 16


class Added(NamedTuple):
    """A job to enqueue and what became of it; `created` is False for one found by its key."""

    job_id: str
    queue: str
    kind: str
    created: bool


class Found(NamedTuple):
    """What a look for work found: claimed jobs in the order to work on them, each with its token.

    `due_in`: seconds until the next job there is now becomes due, None when there is none. `rescued` leases had run
    out, and `runnable` of their jobs may run again.
    """

    jobs: list[tuple[Leased, str]]
    due_in: float | None
    rescued: int
    runnable: int


def token_of(job_id: str, fence: int) -> str:
    """The text that names one lease of one job."""
    return f"{fence}-{_check(job_id)}"


def fence_of(job_id: str, token: str) -> int | None:
    """The fence in a token of this job; None for any other text."""
    found = _TOKEN.fullmatch(token)
    return int(found[1]) if found and found[2] == _check(job_id) else None


def _check(job_id: str) -> str:
    return sha256(job_id.lower().encode()).hexdigest()[:8]


def enqueue(
    conn: Connection, rules: Rules, asked: Mapping[str, Any], key_seconds: int, key: str | None = None
) -> Added:
    """Stores one job (`asked` as `NewLeasableJobSchema` loads it), or finds the one its key made.

    Raises Invalid, Conflict when the key was used with another request, and Unavailable when the queue is full.
    """
    # The other defaults are filled in afterwards: they are no part of what was asked, which the key is compared by.
    job = prepare(rules, {**asked, "kind": asked.get("kind") or _DEFAULT_KIND}, key)
    job = job._replace(max_attempts=asked.get("max_attempts") or _DEFAULT_MAX_ATTEMPTS, key_seconds=key_seconds)
    with admitted(conn, rules, job.queue) as admission:
        (enqueued,) = sql.jobs.enqueue(conn, [job])
        admission.stored = int(enqueued.created)
    if not enqueued.same_request:
        raise key_conflict()
    return Added(enqueued.id, job.queue, job.kind, enqueued.created)


def claim(conn: Connection, asked: Mapping[str, Any], is_there: Callable[[], bool]) -> Found:
    """Claims what is due (`asked` as `LeaseRequestSchema` loads it), expired leases of the queue rescued first.

    Nothing is claimed for a client that is not there any more.
    """
    rescued = sql.leases.rescue(conn, workers_too=False, queue=asked["queue"])
    leased, due_in = _look(conn, asked, is_there)
    jobs = [(job, token_of(job.id, job.fence)) for job in leased]
    return Found(jobs, due_in, len(rescued), sum(status == "retrying" for status in rescued.values()))


def _look(
    conn: Connection, asked: Mapping[str, Any], is_there: Callable[[], bool]
) -> tuple[list[Leased], float | None]:
    kinds = list(dict.fromkeys(asked.get("kinds") or [_DEFAULT_KIND]))
    due_in: float | None = None
    for _ in range(_POISON_TRIES):
        streams = sql.leases.streams(conn, asked["queue"], kinds)
        due_in = min((stream.due_in for stream in streams), default=None)
        picks = _picks(streams)
        if not picks or not is_there():
            break
        told = _claim(conn, asked, picks)
        if not told:
            break
        leased = _readable(conn, told)
        if leased:
            return leased, due_in
    return [], due_in


def _claim(conn: Connection, asked: Mapping[str, Any], picks: list[Pick]) -> list[Leased]:
    """Up to the limit asked for, as far as the payloads fit into one answer, in their order."""
    told: list[Leased] = []
    room, limit = sql.jobs.MOST_BYTES, min(_FIRST_CLAIM, asked["limit"])
    while limit and room > 0:
        try:
            claimed = sql.leases.claim(conn, queue=asked["queue"], picks=picks, limit=limit, lease_ms=asked["lease_ms"])
            fresh = _told(conn, [Lease(job.id, job.fence) for job in claimed], room)
        except StorageError:
            if not told:
                raise
            # What is claimed already has a holder to go to.
            break
        told += fresh
        if not fresh or len(fresh) < limit:
            break
        sizes = [len(job.payload.encode()) for job in fresh]
        room -= sum(sizes)
        limit = min(asked["limit"] - len(told), max(1, room // max(sizes)))
    return sorted(told, key=lambda job: (-job.priority, job.run_at, job.id))


def _told(conn: Connection, claimed: list[Lease], room: int) -> list[Leased]:
    """Those of the jobs that fit; the others, if these are larger than those before, go back without a loss."""
    told: list[Leased] = []
    try:
        told = sql.leases.leased(conn, claimed, room)
    finally:
        handed_out = {job.id for job in told}
        rest = [lease for lease in claimed if lease.id not in handed_out]
        if rest:
            sql.leases.release(conn, None, rest)
    return told


def _picks(streams: list[Stream]) -> list[Pick]:
    due = [stream for stream in streams if stream.due_in <= 0]
    # Kinds of equal priority take turns, or a backlog of the first would hide the second for ever.
    random.shuffle(due)
    due.sort(key=lambda stream: -stream.priority)
    return [Pick(stream.kind, stream.priority, *START) for stream in due]


def _readable(conn: Connection, leased: list[Leased]) -> list[Leased]:
    """Those of the jobs that can be handed out; the others fail for good, as they would in the pool."""
    readable, failures = [], []
    for job in leased:
        try:
            documents.read_back(job.payload)
        except documents.Unreadable as error:
            failures.append(Failure(Lease(job.id, job.fence), f"the payload {error}", permanent=True))
        else:
            readable.append(job)
    if failures:
        sql.leases.fail(conn, None, failures)
    return readable


def ack(conn: Connection, job_id: str, asked: Mapping[str, Any], token_required: bool = False) -> bool:
    """Settles a leased job as succeeded; False when this very settle had been written before.

    As all settles: `asked` is what its schema loads, and with `token_required` it must name the lease. Raises Invalid,
    NotFound, and Conflict when the job is not leased or another lease was named.
    """
    lease = _lease(conn, job_id, asked, token_required)
    result = asked.get("result")
    if sql.leases.ack(conn, None, [(lease, None if result is None else _text(result))]):
        return True
    before = _settled_before(conn, lease, asked)
    if before is None or before.state != "succeeded":
        raise _lost(conn, lease.id)
    return False


def fail(conn: Connection, job_id: str, asked: Mapping[str, Any], token_required: bool = False) -> str | None:
    """Settles a leased job's attempt as failed; the status it went to, None when this had been written before."""
    lease = _lease(conn, job_id, asked, token_required)
    retry_ms = asked.get("retry_ms")
    delay = (DEFAULT_RETRY_MS if retry_ms is None else retry_ms) / 1000
    failure = Failure(lease, clean_text(asked["reason"]), delay, bool(asked.get("permanent")))
    status = sql.leases.fail(conn, None, [failure]).get(lease.id)
    if status is None:
        before = _settled_before(conn, lease, asked)
        if before is None or not before.is_report(failure):
            raise _lost(conn, lease.id)
    return status


def release(conn: Connection, job_id: str, asked: Mapping[str, Any], token_required: bool = False) -> bool:
    """Gives a leased job back with its attempt; False when this had been written before."""
    lease = _lease(conn, job_id, asked, token_required)
    if sql.leases.release(conn, None, [lease]):
        return True
    before = _settled_before(conn, lease, asked)
    if before is None or before.error is not None or before.state not in ("ready", "released", "cancelled"):
        raise _lost(conn, lease.id)
    return False


def heartbeat(conn: Connection, job_id: str, asked: Mapping[str, Any], token_required: bool = False) -> bool:
    """Extends a lease and keeps the progress, if any; True when the holder is to stop and release."""
    lease = _lease(conn, job_id, asked, token_required)
    progress = _text(asked["progress"]) if "progress" in asked else None
    cancel_requested = sql.leases.extend(conn, lease, asked["extend_ms"], progress)
    if cancel_requested is None:
        raise _lost(conn, lease.id)
    return cancel_requested


def _lease(conn: Connection, job_id: str, asked: Mapping[str, Any], token_required: bool) -> Lease:
    job_id, token = job_id.lower(), asked.get("lease_token")
    if token is None:
        if token_required:
            raise Invalid.of({"lease_token": ["is required here (REQUIRE_LEASE_TOKEN)"]})
        live = sql.leases.live_lease(conn, job_id)
        if live is None:
            raise _lost(conn, job_id)
        return live
    fence = fence_of(job_id, token)
    if fence is None:
        raise _lost(conn, job_id)
    return Lease(job_id, fence)


def _settled_before(conn: Connection, lease: Lease, asked: Mapping[str, Any]) -> Settled | None:
    """How this lease was settled already, for a call that names it: of two that do not, the second may be another's."""
    if asked.get("lease_token") is None:
        return None
    return sql.leases.settled_before(conn, [lease]).get(lease.id)


def _lost(conn: Connection, job_id: str) -> Conflict | NotFound:
    if not sql.jobs.exists(conn, job_id):
        return no_job(job_id)
    return Conflict(f"job {job_id} is not leased, or not by this lease_token")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
