"""What an operator may ask of queues and dead letters."""

from collections.abc import Mapping
from typing import Any

import sql.dead_letters
import sql.queues
from app.counts import Counted, Counts
from app.problems import Conflict, Unavailable, no_job
from app.schemas.admin import DEFAULT_REDRIVEN
from sql.connection import Connection
from sql.dead_letters import Redriven
from sql.rows import Page, QueueOverview, Status

# Looked at in 4 ms: so a queue with few jobs is counted to the moment whatever waits in others.
_MOST_AT_ONCE = 20_000


def overview(conn: Connection, counts: Counts) -> tuple[list[QueueOverview], float]:
    """The queues that hold unfinished jobs or are paused, by name; and how many seconds ago they were counted.

    Raises Unavailable.
    """
    counted = _counted(conn, counts)
    return sql.queues.overview(conn, counted=counted.queues), counted.age


def depth(conn: Connection, counts: Counts, queue: str) -> tuple[int, float]:
    """How many jobs of a queue could be claimed now, and how many seconds ago that was so. A queue nobody has heard of
    is an empty one. Raises Unavailable.
    """
    exact = sql.queues.depth(conn, queue, _MOST_AT_ONCE)
    if exact is not None:
        return exact, 0.0
    counted = _counted(conn, counts)
    return next((each.depth for each in counted.queues if each.queue == queue), 0), counted.age


def _counted(conn: Connection, counts: Counts) -> Counted:
    counted = counts.read(conn)
    if counted is None:
        raise Unavailable("so many jobs wait that they are still being counted; try again")
    return counted


def pause(conn: Connection, queue: str) -> None:
    """From now on the queue hands out nothing, to the pool or over a lease. A queue is whatever is called one."""
    sql.queues.pause(conn, queue)


def resume(conn: Connection, queue: str) -> int:
    """The queue hands out again. Answers how many wake-ups its due jobs are worth."""
    return sql.queues.resume(conn, queue)


def dead(conn: Connection, queue: str, limit: int, before: tuple[str, str] | None) -> Page:
    """The dead letters of a queue, those that died last first; `before` as `sql.dead_letters.page` has it."""
    return sql.dead_letters.page(conn, queue, limit, before)


def requeue(conn: Connection, job_id: str) -> None:
    """Redrives one dead letter: queued, attempts 0, due now. Raises NotFound, Conflict (also for a cancelled job)."""
    job_id = job_id.lower()
    outcome = sql.dead_letters.retry(conn, job_id, [Status.FAILED_PERMANENT])
    if outcome == "missing":
        raise no_job(job_id)
    if outcome == "conflict":
        raise Conflict(f"job {job_id} is not dead")


def redrive(conn: Connection, queue: str, asked: Mapping[str, Any]) -> Redriven:
    """Redrives those dead letters of a queue that pass `asked` (as `RedriveSchema` loads it)."""
    return sql.dead_letters.redrive_matching(
        conn,
        queue,
        kind=asked.get("kind"),
        error_contains=asked.get("error_contains"),
        limit=0 if asked.get("dry_run") else asked.get("limit") or DEFAULT_REDRIVEN,
    )
