"""Putting jobs into a test's database and looking at what became of them."""

import json
from collections.abc import Sequence
from typing import Any

from sql import hints, jobs
from sql.connection import Connection
from sql.rows import Job
from support.waiting import until

_SLOW_CLAIMS = """
create function slow_down() returns trigger language plpgsql as $$
begin
    if exists (select from taken) then
        perform pg_sleep(0.7);
    end if;
    return null;
end $$;
create trigger slow after insert on windlass.running referencing new table as taken
for each statement execute function slow_down();
"""
_CLAIMING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"

ENDS = ("succeeded", "failed_permanent", "cancelled")


def put(
    connection: Connection,
    kind: str,
    *payloads: dict[str, Any],
    max_attempts: int = 3,
    timeout: int = 60,
    run_at: str | None = None,
    priority: int = 0,
    queue: str = "default",
    hint: bool = True,
) -> list[str]:
    """Enqueues one job a payload, all in one transaction, and hints at them; their ids in order."""
    wanted = [
        jobs.NewJob(queue, kind, priority, max_attempts, timeout, json.dumps(payload), run_at) for payload in payloads
    ]
    ids = [enqueued.id for enqueued in jobs.enqueue(connection, wanted)]
    if hint:
        hints.hint(connection, len(ids))
    return ids


def put_one(connection: Connection, kind: str, payload: dict[str, Any] | None = None, **facts: Any) -> str:
    """As `put`, for one."""
    return put(connection, kind, payload or {}, **facts)[0]


def look(connection: Connection, job_id: str) -> Job:
    """The job as it is now."""
    job = jobs.find(connection, job_id)
    assert job is not None
    return job


def ended(connection: Connection, job_id: str, seconds: float = 10.0) -> Job:
    """The job, once it has come to one of its ends."""
    return until(lambda: (job := look(connection, job_id)).status in ENDS and job, seconds, f"job {job_id} ends")


def becomes(connection: Connection, job_id: str, status: str, seconds: float = 10.0) -> Job:
    """The job, once it has this status."""
    return until(lambda: (job := look(connection, job_id)).status == status and job, seconds, f"{job_id} is {status}")


def counts(connection: Connection) -> dict[str, int]:
    """How many jobs there are of each status that occurs."""
    return dict(connection.fetch_all("select status, count(*) from windlass.job_view group by status"))


def drained(connection: Connection, seconds: float = 30.0) -> dict[str, int]:
    """The counts, once no job waits or runs."""
    unfinished = "select (select count(*) from windlass.ready) + (select count(*) from windlass.running)"
    until(lambda: connection.fetch_one(unfinished) == (0,), seconds, "all jobs ended")
    return counts(connection)


def running(connection: Connection) -> int:
    """How many jobs somebody holds."""
    row = connection.fetch_one("select count(*) from windlass.running")
    assert row is not None
    return int(row[0])


def attempts(connection: Connection, job_ids: Sequence[str]) -> list[int]:
    """Of each job, in the order of `job_ids`."""
    found = jobs.find_many(connection, list(job_ids))
    return [found[job_id].attempts for job_id in job_ids]


def slow_down_claims(connection: Connection) -> None:
    """From now on each that takes something takes most of a second."""
    connection.execute(_SLOW_CLAIMS)


def claims_under_way(connection: Connection) -> int:
    """How many of those there are now."""
    row = connection.fetch_one(_CLAIMING)
    assert row is not None
    return int(row[0])


def follow_ups(connection: Connection, job_id: str) -> list[Job]:
    """What the job of kind `follow` enqueued, oldest first."""
    rows = connection.fetch_all("select id::text from windlass.jobs where payload->>'of' = %(id)s", id=job_id)
    found = jobs.find_many(connection, [row[0] for row in rows])
    return [found[each] for each in sorted(found)]
