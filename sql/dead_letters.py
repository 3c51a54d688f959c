"""Jobs that ended without success, and their way back."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sql import arrays, jobs
from sql.connection import Connection
from sql.rows import Page, Status
from sql.statements import load

_SQL = load("dead_letters")


def redrive(conn: Connection, ids: Sequence[str], statuses: Sequence[Status] = (Status.FAILED_PERMANENT,)) -> list[str]:
    """Queues ended jobs anew, attempts 0, due now. Answers the ids that were in one of `statuses`."""
    rows = conn.fetch_all(_SQL["redrive"], ids=arrays.plain(sorted(ids)), statuses=arrays.plain(statuses))
    return [row[0] for row in rows]


def retry(
    conn: Connection, job_id: str, statuses: Sequence[Status] = (Status.FAILED_PERMANENT, Status.CANCELLED)
) -> Literal["queued", "conflict", "missing"]:
    """Queues one job in one of `statuses` anew; a conflict when it is in another."""
    if redrive(conn, [job_id], statuses):
        return "queued"
    return "conflict" if jobs.exists(conn, job_id) else "missing"


class Redriven(NamedTuple):
    """How many dead letters passed a filter, and how many of them were queued anew."""

    matched: int
    requeued: int


def redrive_matching(
    conn: Connection,
    queue: str,
    *,
    kind: str | None = None,
    error_contains: str | None = None,
    limit: int,
) -> Redriven:
    """Queues up to `limit` dead letters of a queue anew, those that died first first; a limit of 0 only counts.

    `error_contains` is a plain part of their last error.
    """
    row = conn.fetch_one(_SQL["matching"], queue=queue, kind=kind, error_contains=error_contains, limit=limit)
    assert row is not None
    matched, chosen = row
    return Redriven(matched, len(redrive(conn, chosen)) if chosen else 0)


def page(
    conn: Connection,
    queue: str,
    limit: int,
    before: tuple[str, str] | None = None,
    most_bytes: int = jobs.MOST_BYTES,
) -> Page:
    """The dead letters of a queue, those that died last first, up to `limit` and until they come to `most_bytes`.

    `before` is where the page before ended: the `updated_at` and the id of its last job.
    """
    before_at, before_id = before or (None, None)
    rows = conn.fetch_all(
        _SQL["page"], queue=queue, limit=limit + 1, before_at=before_at, before_id=before_id, most_bytes=most_bytes
    )
    return jobs.page_of(rows[:limit])
