"""The consumer half: claim jobs under a lease, and settle them by the fence of that lease.

Every settle names id and fence; a worker's settle names the worker too (`worker_id`; None for HTTP holders). What it
could not settle is not in its answer: the lease is lost, a normal outcome. Sending a settle again is safe.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from sql import arrays
from sql.connection import Connection
from sql.rows import Claimed, Held, Leased
from sql.statements import load

_SQL = load("leases")

# Before every row: where a scan from the start begins.
START = ("-infinity", "00000000-0000-0000-0000-000000000000")


class Stream(NamedTuple):
    """A (kind, priority) of a queue and how many seconds until its first job is due (0: now)."""

    kind: str
    priority: int
    due_in: float


class Pick(NamedTuple):
    """A stream to claim from, and the (run_at, id) its last claim ended at."""

    kind: str
    priority: int
    after_run_at: str
    after_id: str


class Lease(NamedTuple):
    """The right to work one job."""

    id: str
    fence: int


class Settled(NamedTuple):
    """How a lease was settled.

    `state` is what the job went to: an end or `ready`; once it has gone on from there `released`, or None if the
    attempt failed. `error` is what was recorded of the attempt, None if it did not fail; `permanent` whether its holder
    said so of the failure, None when it said nothing.
    """

    state: str | None
    error: str | None
    permanent: bool | None = None

    def is_report(self, failure: "Failure") -> bool:
        """Whether it was settled by this very report. A rescue fails an attempt too, with a reason of its own."""
        return (self.error, self.permanent) == (failure.error, failure.permanent)


class Failure(NamedTuple):
    """How an attempt failed. `delay` seconds until the next one; `permanent` means there is none."""

    lease: Lease
    error: str
    delay: float = 0.0
    permanent: bool = False


def streams(conn: Connection, queue: str, kinds: Sequence[str]) -> list[Stream]:
    """The streams of `queue` that hold jobs of `kinds`, highest priority first; none while the queue is paused."""
    return [Stream(*row) for row in conn.fetch_all(_SQL["streams"], queue=queue, kinds=arrays.quoted(kinds))]


def claim(
    conn: Connection,
    *,
    queue: str,
    picks: Sequence[Pick],
    limit: int,
    worker_id: int | None = None,
    lease_ms: int | None = None,
) -> list[Claimed]:
    """Up to `limit` due jobs, from the picks in their order, for a worker or for an HTTP lease of `lease_ms`."""
    rows = conn.fetch_all(
        _SQL["claim"], queue=queue, limit=limit, worker_id=worker_id, lease_ms=lease_ms, **_picked(picks)
    )
    return list(map(Claimed._make, rows))


def ack(conn: Connection, worker_id: int | None, settles: Sequence[tuple[Lease, str | None]]) -> set[str]:
    """Settles as succeeded, each with its result (JSON text or None). Answers the ids settled now."""
    rows = conn.fetch_all(_SQL["ack"], worker_id=worker_id, **_with_results(settles))
    return {row[0] for row in rows}


def ack_and_claim(
    conn: Connection,
    settles: Sequence[tuple[tuple[str, int], str | None]],
    *,
    queue: str,
    picks: Sequence[Pick],
    limit: int,
    worker_id: int,
) -> tuple[int, list[Claimed]]:
    """`ack` and `claim` of a worker in one round trip: how many were settled now, and the jobs claimed.

    A lease may also be a plain pair: making a thousand Leases of them takes as long as all the rest here.
    """
    rows = conn.fetch_all(
        _SQL["ack_and_claim"],
        queue=queue,
        limit=limit,
        worker_id=worker_id,
        lease_ms=None,
        **_picked(picks),
        **_with_results(settles),
    )
    return rows[0][0], [Claimed._make(row[1:]) for row in rows if row[1] is not None]


def ack_cancelled(conn: Connection, worker_id: int | None, leases: Sequence[Lease]) -> set[str]:
    """Settles as cancelled. Answers the ids settled now."""
    return {row[0] for row in conn.fetch_all(_SQL["ack_cancelled"], **_named(worker_id, leases))}


def fail(conn: Connection, worker_id: int | None, failures: Sequence[Failure]) -> dict[str, str]:
    """Settles as failed. Answers id → status it went to (retrying, failed_permanent or cancelled)."""
    failures = sorted(failures)
    rows = conn.fetch_all(
        _SQL["fail"],
        worker_id=worker_id,
        ids=arrays.plain(failure.lease.id for failure in failures),
        fences=arrays.plain(failure.lease.fence for failure in failures),
        errors=arrays.quoted(failure.error for failure in failures),
        delays=arrays.plain(failure.delay for failure in failures),
        permanents=arrays.plain(failure.permanent for failure in failures),
    )
    return dict(rows)


def release(conn: Connection, worker_id: int | None, leases: Sequence[Lease]) -> set[str]:
    """Gives jobs back with their attempt. Answers the ids released now."""
    return {row[0] for row in conn.fetch_all(_SQL["release"], **_named(worker_id, leases))}


def settled_before(conn: Connection, leases: Sequence[Lease]) -> dict[str, Settled]:
    """Of `leases`, those whose settle an earlier, unanswered call may have written, by id, and how they were settled.

    What a rescue took back is among them, with the rescue's error.
    """
    rows = conn.fetch_all(_SQL["settled_before"], **_pairs(leases))
    return {job_id: Settled(*how) for job_id, *how in rows}


def report_progress(conn: Connection, worker_id: int | None, lease: Lease, progress: str) -> bool:
    """Keeps `progress` (JSON text) with the running job. False when the lease is lost."""
    return bool(
        conn.execute(_SQL["report_progress"], worker_id=worker_id, id=lease.id, fence=lease.fence, progress=progress)
    )


def extend(conn: Connection, lease: Lease, extend_ms: int, progress: str | None = None) -> bool | None:
    """Moves an HTTP lease's end and keeps `progress` (JSON text), if any.

    Answers whether cancel was requested, or None when the lease is lost.
    """
    row = conn.fetch_one(_SQL["extend"], id=lease.id, fence=lease.fence, extend_ms=extend_ms, progress=progress)
    return None if row is None else bool(row[0])


def leased(conn: Connection, leases: Sequence[Lease], most_bytes: int) -> list[Leased]:
    """What the holder of these HTTP leases is told, in their order, until the payloads come to `most_bytes`.

    Those whose lease is over already are absent too.
    """
    rows = conn.fetch_all(_SQL["leased"], most_bytes=most_bytes, **_pairs(leases))
    return [Leased(*row) for row in rows]


def live_lease(conn: Connection, job_id: str) -> Lease | None:
    """The HTTP lease a job is under, expired or not, if nobody has taken it back yet."""
    row = conn.fetch_one(_SQL["live_lease"], id=job_id)
    return None if row is None else Lease(job_id, row[0])


def held(conn: Connection, ids: Sequence[str]) -> list[Held]:
    """Of these jobs, those that run in a worker."""
    return [Held(*row) for row in conn.fetch_all(_SQL["held"], ids=arrays.plain(ids))]


def held_by(conn: Connection, worker_ids: Sequence[int]) -> list[Held]:
    """All that these workers hold; costs more with every dead row of the table."""
    return [Held(*row) for row in conn.fetch_all(_SQL["held_by"], worker_ids=arrays.plain(worker_ids))]


def rescue(
    conn: Connection, *, workers_too: bool, thorough: bool = True, queue: str | None = None, limit: int = 500
) -> dict[str, str]:
    """Takes back expired HTTP leases and, if `workers_too`, leases of lost workers. Answers id → status.

    Unless `thorough` it looks for the latter only while somebody was lost in the last 15 s.
    """
    rows = conn.fetch_all(_SQL["rescue"], workers_too=workers_too, thorough=thorough, queue=queue, limit=limit)
    return dict(rows)


def _picked(picks: Sequence[Pick]) -> dict[str, str]:
    kinds, priorities, run_ats, ids = zip(*picks, strict=True)
    return {
        "kinds": arrays.quoted(kinds),
        "priorities": arrays.plain(priorities),
        "after_run_ats": arrays.quoted(run_ats),
        "after_ids": arrays.plain(ids),
    }


def _with_results(settles: Sequence[tuple[tuple[str, int], str | None]]) -> dict[str, str]:
    # Sorted, so that two overlapping resends of one batch cannot wait for each other.
    settles = sorted(settles, key=itemgetter(0))
    results = ",".join([f'"{fence}":{result}' for (_, fence), result in settles if result is not None])
    return {**_pairs([lease for lease, _ in settles]), "results": f"{{{results}}}"}


def _named(worker_id: int | None, leases: Sequence[Lease]) -> dict[str, object]:
    return {"worker_id": worker_id, **_pairs(sorted(leases))}


def _pairs(leases: Sequence[tuple[str, int]]) -> dict[str, str]:
    return {"ids": arrays.plain([id for id, _ in leases]), "fences": arrays.plain([fence for _, fence in leases])}
