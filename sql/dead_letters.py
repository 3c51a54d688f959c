"""Jobs that ended without success, and their way back."""

from collections.abc import Sequence
from typing import Literal

from sql import arrays
from sql.connection import Connection
from sql.rows import Status
from sql.statements import load

_SQL = load("dead_letters")


def redrive(conn: Connection, ids: Sequence[str], statuses: Sequence[Status] = (Status.FAILED_PERMANENT,)) -> list[str]:
    """Queues ended jobs anew, attempts 0, due now. Answers the ids that were in one of `statuses`."""
    rows = conn.fetch_all(_SQL["redrive"], ids=arrays.plain(sorted(ids)), statuses=arrays.plain(statuses))
    return [row[0] for row in rows]


def retry(conn: Connection, job_id: str) -> Literal["queued", "conflict", "missing"]:
    """Queues one failed_permanent or cancelled job anew; a conflict when it is in another state."""
    if redrive(conn, [job_id], (Status.FAILED_PERMANENT, Status.CANCELLED)):
        return "queued"
    row = conn.fetch_one(_SQL["exists"], id=job_id)
    return "conflict" if row and row[0] else "missing"
