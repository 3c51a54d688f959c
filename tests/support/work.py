"""Short words for what tests of the statements do over and over: add, claim, look, and do things at once."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from sql import jobs, leases, workers
from sql.connection import Connection
from sql.jobs import NewJob
from sql.leases import START, Lease, Pick
from sql.rows import Claimed, Job
from support.server import through_pgbouncer

T = TypeVar("T")

KIND = "email"
LEASE_MS = 60_000
_STATE_TABLES = ("jobs", "ready", "running", "done", "failures", "idempotency_keys")


class Inside(NamedTuple):
    """What the view knows of a job and the API does not say."""

    fence: int
    worker_id: int | None
    lease_expires_at: str | None


def new_job(**facts: Any) -> NewJob:
    """An ordinary job, except for `facts`."""
    return NewJob(queue="default", kind=KIND, priority=0, max_attempts=3, timeout_seconds=60, payload="{}")._replace(
        **facts
    )


def add(conn: Connection, **facts: Any) -> str:
    """Enqueues one ordinary job, except for `facts`; its id."""
    return jobs.enqueue(conn, [new_job(**facts)])[0].id


def add_many(conn: Connection, count: int, **facts: Any) -> list[str]:
    """Enqueues `count` of them together; their ids."""
    return [one.id for one in jobs.enqueue(conn, [new_job(**facts)] * count)]


def register(conn: Connection, *, lease_seconds: float = 30.0) -> int:
    """A new worker's identity."""
    return workers.register(
        conn, name="tests/0", host="tests", pid=1, pool="tests/1", slot=0, lease_seconds=lease_seconds
    )


def from_start(*streams: tuple[str, int]) -> list[Pick]:
    """Picks that begin at the start of each (kind, priority)."""
    return [Pick(kind, priority, *START) for kind, priority in streams]


def claim(
    conn: Connection,
    worker_id: int | None = None,
    *,
    queue: str = "default",
    kinds: Sequence[str] = (KIND,),
    limit: int = 1,
    lease_ms: int = LEASE_MS,
) -> list[Claimed]:
    """Claims from the start of every stream, for a worker or, without one, for an HTTP lease."""
    picks = from_start(*[(stream.kind, stream.priority) for stream in leases.streams(conn, queue, kinds)])
    if not picks:
        return []
    terms = {"lease_ms": lease_ms} if worker_id is None else {"worker_id": worker_id}
    return leases.claim(conn, queue=queue, picks=picks, limit=limit, **terms)


def claim_one(conn: Connection, worker_id: int | None = None, **facts: Any) -> Lease:
    """Claims the one job there must be."""
    (claimed,) = claim(conn, worker_id, **facts)
    return lease_of(claimed)


def lease_of(claimed: Claimed) -> Lease:
    """The right that came with a claimed job."""
    return Lease(claimed.id, claimed.fence)


def ids(claimed: Sequence[Claimed]) -> list[str]:
    """Of claimed jobs, in their order."""
    return [job.id for job in claimed]


def look(conn: Connection, job_id: str) -> Job:
    """The job as it is now."""
    job = jobs.find(conn, job_id)
    assert job is not None
    return job


def inside(conn: Connection, job_id: str) -> Inside:
    """What the API does not say of it."""
    row = conn.fetch_one(
        "select fence, worker_id, lease_expires_at::text from windlass.job_view where id = %(id)s", id=job_id
    )
    assert row is not None
    return Inside(*row)


def everything(conn: Connection) -> dict[str, list[str]]:
    """All rows of all tables that say something about a job, to see that nothing changed."""
    return {
        table: [row[0] for row in conn.fetch_all(f"select t::text from windlass.{table} as t order by 1")]  # noqa: S608
        for table in _STATE_TABLES
    }


def count(conn: Connection, table: str) -> int:
    """How many rows `table` has."""
    row = conn.fetch_one(f"select count(*) from windlass.{table}")  # noqa: S608
    assert row is not None
    return int(row[0])


def past(conn: Connection, table: str, column: str, seconds: float) -> None:
    """Moves a time of every row of `table` back: tests cannot wait an hour."""
    moved = f"update windlass.{table} set {column} = {column} - %(seconds)s * interval '1 second'"  # noqa: S608
    conn.execute(moved, seconds=seconds)


def lose(conn: Connection, worker_id: int) -> None:
    """The worker's process is gone."""
    workers.lose(conn, [worker_id])


def at_once(*actions: Callable[[], T], seconds: float = 60.0) -> list[T]:
    """Runs all in threads that begin together; their answers in order. The first exception of any is raised."""
    start = threading.Barrier(len(actions))
    answers: list[Any] = [None] * len(actions)
    errors: list[BaseException] = []

    def run(index: int, action: Callable[[], T]) -> None:
        try:
            start.wait(seconds)
            answers[index] = action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(index, action), daemon=True) for index, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), f"an action takes longer than {seconds:g} s"
    if errors:
        raise errors[0]
    return answers


class Meanwhile:
    """An action in a thread of its own, which is expected to wait for a lock: `waits` proves that it does."""

    def __init__(self, conn: Connection, action: Callable[[], Any]) -> None:
        row = conn.fetch_one("select pg_backend_pid()")
        assert row is not None
        self.backend = int(row[0])
        self._answer: list[Any] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()

    def _run(self, action: Callable[[], Any]) -> None:
        try:
            self._answer.append(action())
        except BaseException as error:
            self._error.append(error)

    def waits(self, watcher: Connection, event_type: str = "Lock") -> bool:
        """Whether its backend is waiting now; `watcher` is another connection.

        Behind a pooler nobody knows which is its backend: one of this database is.
        """
        row = watcher.fetch_one(
            "select count(*) from pg_stat_activity where wait_event_type = %(event_type)s"
            " and (pid = %(pid)s or %(pooled)s and datname = current_database() and backend_type = 'client backend')",
            event_type=event_type,
            pid=self.backend,
            pooled=through_pgbouncer(),
        )
        return row is not None and row[0] > 0

    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return not self._thread.is_alive()

    def answer(self, seconds: float = 20.0) -> Any:
        """What the action answered, or its exception."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the action takes longer than {seconds:g} s"
        if self._error:
            raise self._error[0]
        return self._answer[0]
