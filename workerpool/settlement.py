"""Writes outcomes: one branch for each, and the only place that settles what this worker ran.

Successes are kept on the board and written together, with the next claim or at the latest 100 ms after the first; a
worker killed meanwhile does not make them run again, since the steward finds them there. Everything else is written at
once, and so is a success with follow-ups: the steward could settle it, but knows nothing of what must commit with it.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence

from sql import hints, leases
from sql.connection import Connection
from sql.errors import Rejected, StorageError
from sql.leases import Failure, Lease, Pick, Settled
from sql.rows import Claimed
from workerpool import metrics
from workerpool.board import Cell
from workerpool.follow_ups import EndWithFollowUps, FollowUpsRefused
from workerpool.kinds.registry import Registry
from workerpool.kinds.requests import Prepared
from workerpool.metrics import Tally
from workerpool.outcomes import Cancelled, Dead, Outcome, Released, Retry, Succeeded
from workerpool.session import Session

log = logging.getLogger(__name__)

KEEP_SECONDS = 0.100


class Settlement:
    """The outcomes of one worker's batch.

    due_at  when the first kept success must be written
    """

    def __init__(self, session: Session, cell: Cell, registry: Registry, tally: Tally) -> None:
        self._session = session
        self._cell = cell
        self._registry = registry
        self._tally = tally
        self._kept: list[tuple[int, Claimed, str | None]] = []
        self.due_at = math.inf

    def settle(
        self, index: int, job: Claimed, outcome: Outcome, follow_ups: Sequence[Prepared] = (), *, ended: float
    ) -> None:
        """Writes, or keeps for `flush`, the outcome of the batch's entry `index`; a Succeeded or Dead together with its
        `follow_ups`. Raises Abandoned.
        """
        if isinstance(outcome, Succeeded) and not follow_ups:
            result = outcome.result
            finished = self._cell.finish(index, None if result is None else result.encode(), now=ended)
            if not self._kept:
                self.due_at = ended + KEEP_SECONDS
            self._kept.append((index, job, result))
            if not finished:
                # The board has no room for its result: all that takes room goes with it.
                self.flush()
            return
        # Writing the outcome may have to wait for the database; that is no reason to be killed.
        self._cell.disarm(ended)
        lease = Lease(job.id, job.fence)
        match outcome:
            case Succeeded(result):
                self._ack([(index, job, result)], follow_ups)
                return
            case Retry():
                delay = outcome.after
                if delay is None:
                    delay = self._registry.get(job.kind).backoff.delay(job.attempt)
                self._fail(Failure(lease, outcome.reason, delay), job)
            case Dead():
                self._fail(Failure(lease, outcome.reason, permanent=True), job, follow_ups)
            case Cancelled() if self._cell.lost and not self._cell.cancel_requested:
                # It stopped because its lease is lost; nobody asked to cancel the job.
                self.release([(index, job)])
                return
            case Cancelled():
                worker = self._cell.incarnation
                if self._write([lease], lambda conn: leases.ack_cancelled(conn, worker, [lease]), _cancelled):
                    self._tally.completed([job.kind], "cancelled")
            case Released():
                self.release([(index, job)])
                return
            case _:
                raise TypeError(f"not an outcome: {outcome!r}")
        self._cell.settled(index)

    def flush(self) -> None:
        """Writes the kept successes. Raises Abandoned; then they stay on the board."""
        if self._kept:
            self._ack(self._kept)
            self._keep_none()
        self._tally.write()

    def claim(
        self, conn: Connection, /, *, queue: str, picks: Sequence[Pick], limit: int, worker_id: int
    ) -> list[Claimed]:
        """As `leases.claim`; what is kept is written in the same round trip. Raises Rejected when the database refuses
        a result, Unavailable when it is not known what was done.
        """
        if not self._kept:
            return leases.claim(conn, queue=queue, picks=picks, limit=limit, worker_id=worker_id)
        kept = [((job.id, job.fence), result) for _, job, result in self._kept]
        acked, claimed = leases.ack_and_claim(conn, kept, queue=queue, picks=picks, limit=limit, worker_id=worker_id)
        settled = None
        if acked < len(kept):
            given = [Lease(*lease) for lease, _ in kept]
            before = leases.settled_before(conn, given)
            settled = {job_id for job_id, how in before.items() if _succeeded(how)}
            self._lost(lease for lease in given if lease.id not in settled)
        self._acked(self._kept, settled)
        self._keep_none()
        self._tally.write()
        return claimed

    def _keep_none(self) -> None:
        self._kept = []
        self.due_at = math.inf

    def release(self, entries: Iterable[tuple[int, Claimed]]) -> None:
        """Gives jobs back with their attempt."""
        entries = list(entries)
        given = [Lease(job.id, job.fence) for _, job in entries]
        worker = self._cell.incarnation
        released = self._write(given, lambda conn: leases.release(conn, worker, given), _released)
        for index, job in entries:
            if job.id in released:
                self._tally.completed([job.kind], "released")
            self._cell.settled(index)

    def _ack(self, kept: list[tuple[int, Claimed, str | None]], follow_ups: Sequence[Prepared] = ()) -> None:
        worker = self._cell.incarnation
        settles = [(Lease(job.id, job.fence), result) for _, job, result in kept]
        given = [lease for lease, _ in settles]
        try:
            acked = self._end(given, lambda conn: leases.ack(conn, worker, settles), _succeeded, follow_ups)
        except Rejected as error:
            if len(kept) > 1:
                # One result the database refuses must not hold back its neighbours.
                for one in kept:
                    self._ack([one])
                return
            reason = str(error) if isinstance(error, FollowUpsRefused) else f"the result cannot be stored: {error}"
            log.error("the end of job %s was refused: %s", kept[0][1].id, reason)
            self._fail(Failure(given[0], reason, permanent=True), kept[0][1])
            self._cell.settled(kept[0][0])
            return
        self._acked(kept, acked)

    def _acked(self, kept: Sequence[tuple[int, Claimed, str | None]], settled: set[str] | None = None) -> None:
        """`settled`: the ids of those whose lease was not lost, None for all."""
        kinds = [job.kind for _, job, _ in kept if settled is None or job.id in settled]
        self._tally.completed(kinds, "succeeded")
        for index, _, _ in kept:
            self._cell.settled(index)

    def _fail(self, failure: Failure, job: Claimed, follow_ups: Sequence[Prepared] = ()) -> None:
        worker = self._cell.incarnation
        last = failure.permanent or job.attempt >= job.max_attempts
        went_to = {job.id: "failed_permanent" if last else "retrying"}

        def fail(conn: Connection) -> set[str]:
            answer = leases.fail(conn, worker, [failure])
            went_to.update(answer)
            return set(answer)

        try:
            settled = self._end([failure.lease], fail, lambda settled: settled.is_report(failure), follow_ups)
        except FollowUpsRefused as error:
            log.error("the end of job %s was refused: %s", job.id, error)
            self._fail(failure._replace(error=f"{failure.error} ({error})"), job)
            return
        if settled:
            self._tally.completed([job.kind], went_to[job.id])

    def _end(
        self,
        given: list[Lease],
        write: Callable[[Connection], set[str]],
        as_meant: Callable[[Settled], bool],
        follow_ups: Sequence[Prepared],
    ) -> set[str]:
        """As `_write`; the follow-ups, if any, are written with the settle of the one lease given, or not at all."""
        if not follow_ups:
            return self._write(given, write, as_meant)
        end = EndWithFollowUps(write, follow_ups)
        settled = self._write(given, end, as_meant)
        if settled:
            self._tell(given[0].id, follow_ups, end)
        return settled

    def _tell(self, job_id: str, follow_ups: Sequence[Prepared], end: EndWithFollowUps) -> None:
        for follow_up, enqueued in zip(follow_ups, end.enqueued, strict=True):
            if not enqueued.same_request:
                log.warning(
                    "job %s ended without its follow-up of kind %s: its idempotency key made job %s of another request",
                    job_id,
                    follow_up.kind,
                    enqueued.id,
                )
        created = sum(enqueued.created for enqueued in end.enqueued)
        if created:
            try:
                self._session.if_open(lambda conn: hints.hint(conn, created))
            except StorageError as error:
                log.debug("hint of %d jobs lost: %s", created, error)

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
        self._lost(lease for lease in missing if lease.id not in settled)
        return settled

    @staticmethod
    def _lost(given: Iterable[Lease]) -> None:
        for lease in given:
            metrics.settles_refused.inc()
            log.warning("lease lost: job %s was taken back before it was settled", lease.id)


def _succeeded(settled: Settled) -> bool:
    return settled.state == "succeeded"


def _cancelled(settled: Settled) -> bool:
    return settled.state == "cancelled" and settled.error is None


def _released(settled: Settled) -> bool:
    return settled.state in ("ready", "cancelled", "released") and settled.error is None
