"""Writes outcomes: one branch for each, and the only place that settles what this worker ran.

Successes are kept on the board and written together, at the latest 50 ms after the first; a worker killed meanwhile
does not make them run again, since the steward finds them there. Everything else is written at once.
"""

import logging
import time
from collections.abc import Callable, Iterable

from sql import leases
from sql.connection import Connection
from sql.errors import Rejected
from sql.leases import Failure, Lease, Settled
from sql.rows import Claimed
from workerpool import metrics
from workerpool.board import Cell
from workerpool.kinds.registry import Registry
from workerpool.outcomes import Cancelled, Dead, Outcome, Released, Retry, Succeeded
from workerpool.session import Session

log = logging.getLogger(__name__)

KEEP_SECONDS = 0.050


class Settlement:
    """The outcomes of one worker's batch."""

    def __init__(self, session: Session, cell: Cell, registry: Registry) -> None:
        self._session = session
        self._cell = cell
        self._registry = registry
        self._kept: list[tuple[int, Claimed, str | None]] = []
        self._kept_since = 0.0

    def settle(self, index: int, job: Claimed, outcome: Outcome) -> None:
        """Writes, or keeps for `flush`, the outcome of the batch's entry `index`. Raises Abandoned."""
        lease = Lease(job.id, int(job.fence))
        match outcome:
            case Succeeded(result):
                if not self._cell.finish(index, None if result is None else result.encode()):
                    self._ack([(index, job, result)])
                    return
                if not self._kept:
                    self._kept_since = time.monotonic()
                self._kept.append((index, job, result))
                return
            case Retry():
                delay = outcome.after
                if delay is None:
                    delay = self._registry.get(job.kind).backoff.delay(int(job.attempt))
                self._fail(Failure(lease, outcome.reason, delay), job)
            case Dead():
                self._fail(Failure(lease, outcome.reason, permanent=True), job)
            case Cancelled() if self._cell.lost and not self._cell.cancel_requested:
                # It stopped because its lease is lost; nobody asked to cancel the job.
                self.release([(index, job)])
                return
            case Cancelled():
                worker = self._cell.incarnation
                if self._write([lease], lambda conn: leases.ack_cancelled(conn, worker, [lease]), _cancelled):
                    self._count(job, "cancelled")
            case Released():
                self.release([(index, job)])
                return
            case _:
                raise TypeError(f"not an outcome: {outcome!r}")
        self._cell.settled(index)

    @property
    def due(self) -> bool:
        """The first kept success is old enough to be written."""
        return bool(self._kept) and time.monotonic() - self._kept_since >= KEEP_SECONDS

    def flush(self) -> None:
        """Writes the kept successes. Raises Abandoned; then they stay on the board."""
        if self._kept:
            self._ack(self._kept)
            self._kept = []

    def release(self, entries: Iterable[tuple[int, Claimed]]) -> None:
        """Gives jobs back with their attempt."""
        entries = list(entries)
        given = [Lease(job.id, int(job.fence)) for _, job in entries]
        worker = self._cell.incarnation
        released = self._write(given, lambda conn: leases.release(conn, worker, given), _released)
        for index, job in entries:
            if job.id in released:
                self._count(job, "released")
            self._cell.settled(index)

    def _ack(self, kept: list[tuple[int, Claimed, str | None]]) -> None:
        worker = self._cell.incarnation
        settles = [(Lease(job.id, int(job.fence)), result) for _, job, result in kept]
        try:
            acked = self._write(
                [lease for lease, _ in settles], lambda conn: leases.ack(conn, worker, settles), _succeeded
            )
        except Rejected as error:
            if len(kept) > 1:
                # One result the database refuses must not hold back its neighbours.
                for one in kept:
                    self._ack([one])
                return
            log.error("the result of job %s was refused: %s", kept[0][1].id, error)
            self._fail(Failure(settles[0][0], f"the result cannot be stored: {error}", permanent=True), kept[0][1])
            self._cell.settled(kept[0][0])
            return
        for index, job, _ in kept:
            if job.id in acked:
                self._count(job, "succeeded")
            self._cell.settled(index)

    def _fail(self, failure: Failure, job: Claimed) -> None:
        worker = self._cell.incarnation
        last = failure.permanent or int(job.attempt) >= int(job.max_attempts)
        went_to = {job.id: "failed_permanent" if last else "retrying"}

        def fail(conn: Connection) -> set[str]:
            answer = leases.fail(conn, worker, [failure])
            went_to.update(answer)
            return set(answer)

        if self._write([failure.lease], fail, lambda settled: settled.error == failure.error):
            self._count(job, went_to[job.id])

    def _write(
        self, given: list[Lease], write: Callable[[Connection], set[str]], as_meant: Callable[[Settled], bool]
    ) -> set[str]:
        """Sends a settle until it is answered; the ids it settled. The leases of the others are lost."""
        if not given:
            return set()
        settled = self._session.run(write)
        missing = [lease for lease in given if lease.id not in settled]
        if missing:
            # Perhaps an earlier try was committed and only its answer was lost, or the steward did it for us.
            before = self._session.run(lambda conn: leases.settled_before(conn, missing))
            settled |= {job_id for job_id, how in before.items() if as_meant(how)}
        for lease in missing:
            if lease.id not in settled:
                metrics.settles_refused.inc()
                log.warning("lease lost: job %s was taken back before it was settled", lease.id)
        return settled

    def _count(self, job: Claimed, outcome: str) -> None:
        metrics.jobs_completed.labels(job.kind, outcome).inc()


def _succeeded(settled: Settled) -> bool:
    return settled.state == "succeeded"


def _cancelled(settled: Settled) -> bool:
    return settled.state == "cancelled" and settled.error is None


def _released(settled: Settled) -> bool:
    return settled.state in ("ready", "cancelled", "released") and settled.error is None
