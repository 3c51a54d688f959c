"""The producer half: enqueue, read, cancel. The connection comes first and the caller owns the transaction."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sql import arrays
from sql.connection import Connection
from sql.errors import StorageError
from sql.rows import Job, Page, Status
from sql.statements import Statement, load

_SQL = load("jobs")
_PAGE = {
    None: _SQL["page_all"],
    Status.QUEUED: _SQL["page_queued"],
    Status.RETRYING: _SQL["page_retrying"],
    Status.RUNNING: _SQL["page_running"],
    Status.SUCCEEDED: _SQL["page_done"],
    Status.FAILED_PERMANENT: _SQL["page_done"],
    Status.CANCELLED: _SQL["page_done"],
}
_PAGE_OF_QUEUE = {
    **_PAGE,
    None: _SQL["page_all_of_queue"],
    Status.SUCCEEDED: _SQL["page_done_of_queue"],
    Status.FAILED_PERMANENT: _SQL["page_done_of_queue"],
    Status.CANCELLED: _SQL["page_done_of_queue"],
}
MOST_BYTES = 16 * 1024 * 1024
"""Of payloads, results, progress and errors that one answer tells: hundreds of a megabyte each would fill a process."""
# No cancel needed more than 20 tries in 20,000 against eight processes moving the same jobs.
_CANCEL_TRIES = 100


class NewJob(NamedTuple):
    """What `enqueue` stores. `payload` is JSON text, `run_at` RFC 3339 text or None for now.

    A key lives `key_seconds` seconds, or as long as its job when None; `request_hash` says what it was first used for.
    """

    queue: str
    kind: str
    priority: int
    max_attempts: int
    timeout_seconds: int
    payload: str
    run_at: str | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    key_seconds: int | None = None


class Enqueued(NamedTuple):
    """Which job an item became. `same_request` is False when its key was first used for another request."""

    id: str
    created: bool
    same_request: bool


def enqueue(conn: Connection, jobs: Sequence[NewJob]) -> list[Enqueued]:
    """Stores all of `jobs` in one statement and answers in their order. A key may occur only once among them.

    Raises Rejected when the database refuses any value; then nothing is stored.
    """
    if _is_plain(jobs):
        return [Enqueued(_enqueue_one(conn, jobs[0]).id, created=True, same_request=True)]
    return list(map(Enqueued._make, _enqueue(conn, _SQL["enqueue"], jobs)))


def enqueue_shown(conn: Connection, jobs: Sequence[NewJob]) -> list[Job | Enqueued]:
    """As `enqueue`; but a job that was created is answered as `find` would show it."""
    if _is_plain(jobs):
        return [_enqueue_one(conn, jobs[0])]
    rows = _enqueue(conn, _SQL["enqueue_shown"], jobs)
    return [
        _shown(job, job_id, *known) if created else Enqueued(job_id, created, same_request)
        for job, (job_id, created, same_request, *known) in zip(jobs, rows, strict=True)
    ]


def find_many(conn: Connection, ids: Sequence[str], most_bytes: int = MOST_BYTES) -> dict[str, Job]:
    """Jobs by id, until they come to `most_bytes`; unknown ids are absent."""
    told = page_of(conn.fetch_all(_SQL["find_many"], ids=arrays.plain(ids), most_bytes=most_bytes))
    return {job.id: job for job in told.jobs}


def find(conn: Connection, job_id: str) -> Job | None:
    """One job, or None."""
    row = conn.fetch_one(_SQL["find"], id=job_id)
    return Job(*row) if row else None


def exists(conn: Connection, job_id: str) -> bool:
    """Whether there is, in whatever state, such a job."""
    row = conn.fetch_one(_SQL["exists"], id=job_id)
    assert row is not None
    return bool(row[0])


def page(
    conn: Connection,
    *,
    status: Status | None = None,
    kind: str | None = None,
    queue: str | None = None,
    limit: int = 50,
    offset: int = 0,
    before: str | None = None,
    most_bytes: int = MOST_BYTES,
) -> Page:
    """Jobs newest first, up to `limit` and until they come to `most_bytes`, one at least.

    Those after the id `before`; unlike `offset` that does not slow down with depth.
    """
    pages = _PAGE if queue is None else _PAGE_OF_QUEUE
    rows = conn.fetch_all(
        pages[status],
        status=status,
        kind=kind,
        queue=queue,
        # One more than asked for tells whether there is a next page.
        limit=limit + 1,
        offset=offset,
        before=before,
        most_bytes=most_bytes,
    )
    return page_of(rows[:limit])


def page_of(rows: Sequence[tuple[Any, ...]]) -> Page:
    """Rows of `windlass.told` as a page."""
    return Page([Job(*row[:-1]) for row in rows], bool(rows) and rows[-1][-1])


def cancel(conn: Connection, job_id: str) -> Literal["cancelled", "flagged", "terminal", "missing"]:
    """Ends a waiting job, or asks the holder of a running one to stop."""
    for _ in range(_CANCEL_TRIES):
        row = conn.fetch_one(_SQL["cancel"], id=job_id)
        assert row is not None
        outcome, exists = row
        if outcome is not None:
            return outcome  # type: ignore[no-any-return]
        if not exists:
            return "missing"
    raise StorageError(f"job {job_id} is in no state: run `windlass check`")


def _is_plain(jobs: Sequence[NewJob]) -> bool:
    return len(jobs) == 1 and jobs[0].idempotency_key is None


def _enqueue_one(conn: Connection, job: NewJob) -> Job:
    row = conn.fetch_one(
        _SQL["enqueue_one"],
        queue=job.queue,
        kind=job.kind,
        priority=job.priority,
        max_attempts=job.max_attempts,
        timeout=job.timeout_seconds,
        payload=job.payload,
        run_at=job.run_at,
    )
    assert row is not None
    return _shown(job, *row)


def _enqueue(conn: Connection, statement: Statement, jobs: Sequence[NewJob]) -> list[tuple[Any, ...]]:
    if not jobs:
        return []
    (queues, kinds, priorities, attempts, timeouts, payloads, run_ats, keys, hashes, windows) = zip(*jobs, strict=True)
    return conn.fetch_all(
        statement,
        queues=arrays.repeated(queues),
        kinds=arrays.repeated(kinds),
        priorities=arrays.repeated(priorities),
        max_attempts=arrays.repeated(attempts),
        timeouts=arrays.repeated(timeouts),
        payloads=arrays.quoted(payloads),
        run_ats=arrays.repeated(run_ats),
        keys=arrays.quoted(keys),
        hashes=arrays.quoted(hashes),
        windows=arrays.repeated(windows),
    )


def _shown(job: NewJob, job_id: str, payload: str, run_at: str, created_at: str) -> Job:
    """A job that has just been created, as the view `windlass.job_reading` shows it."""
    return Job(
        id=job_id,
        kind=job.kind,
        status=Status.QUEUED.value,
        attempts=0,
        max_attempts=job.max_attempts,
        last_error=None,
        payload=payload,
        run_at=run_at,
        idempotency_key=job.idempotency_key,
        created_at=created_at,
        updated_at=created_at,
        queue=job.queue,
        priority=job.priority,
        cancel_requested=False,
        result=None,
        progress=None,
        started_at=None,
        finished_at=None,
        timeout_seconds=job.timeout_seconds,
    )
