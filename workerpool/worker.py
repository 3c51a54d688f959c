"""The loop of one worker process: claim, run, settle, until it is told to leave."""

import logging
import os
import random
import socket
import time

from sql import leases, workers
from sql.connection import Connection
from sql.errors import Rejected, SchemaUnsupported, StorageError, Unavailable
from sql.leases import Lease
from sql.rows import Claimed
from workerpool import metrics, proc
from workerpool.board import WORKER, Board, Cell
from workerpool.errors import BootFailure
from workerpool.execution import Execution
from workerpool.interrupts import Interrupts
from workerpool.kinds.registry import Registry
from workerpool.lanes import Lane
from workerpool.prefetch import Pace
from workerpool.progress import Progress
from workerpool.session import Abandoned, Session
from workerpool.settings import PoolSettings
from workerpool.settlement import Settlement
from workerpool.signals import Inbox
from workerpool.wake_pipe import WakePipe

log = logging.getLogger(__name__)

# After its deadline a handler has this long to clean up; then only killing its process can stop it.
KILL_AFTER_SECONDS = 1.0


class Worker:
    """One worker process of the pool that `board` and `wake_pipe` are of."""

    def __init__(
        self, settings: PoolSettings, registry: Registry, board: Board, cell: Cell, inbox: Inbox, wake_pipe: WakePipe
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._board = board
        self._cell = cell
        self._inbox = inbox
        self._wake_pipe = wake_pipe
        self._interrupts = Interrupts()
        self._draining = False
        self._verbose = log.isEnabledFor(logging.DEBUG)
        self._wears = settings.worker_max_jobs is not None or settings.worker_max_rss_mb is not None
        self._ran = 0
        self._claimed_at = 0.0
        self._looks_for_all = False
        self._session = Session(
            settings.database_url,
            f"windlass worker {cell.slot}",
            pause=self._pause,
            leaving=lambda: self._interrupts.leaving,
        )
        self._tally = metrics.Tally()
        self._settlement = Settlement(self._session, cell, registry, self._tally)
        self._execution = Execution(
            registry,
            self._interrupts,
            settings.job_timeout_seconds,
            self._is_cancelled,
            Progress(self._write_progress).report,
        )
        self._pace = Pace(settings.worker_prefetch)
        self._lanes = [Lane(queue, registry.runnable(), self._settlement.claim) for queue in settings.worker_queues]

    def check_schema(self) -> None:
        """Raises BootFailure when the database says that this code cannot work with it; silence is waited out later."""
        try:
            self._session.once(lambda _: None)
        except SchemaUnsupported as error:
            raise BootFailure(str(error)) from error
        except StorageError:
            # Whatever else may pass: the session waits for it, and says so.
            pass

    def run(self) -> int:
        """Works until TERM or QUIT, or until it is due for replacement; the process's exit code."""
        self._interrupts.install()
        try:
            hinted = False
            while not self._leaving() and not self._worn_out():
                if not self._cell.lease_holds(time.monotonic()):
                    self._renew_lease()
                elif self._work_a_batch(hinted):
                    hinted = False
                else:
                    hinted = self._idle()
            self._settlement.flush()
            if self._cell.incarnation:
                # A courtesy, not worth waiting out an outage for: the steward says it of every buried cell.
                self._session.once(lambda conn: workers.lose(conn, [self._cell.incarnation]))
        except (Abandoned, Unavailable, SchemaUnsupported):
            log.info("left without the database; the steward settles what is on the board")
        self._session.close()
        return 0

    def _leaving(self) -> bool:
        # Whatever signal comes here means the same: finish the job in hand, then go. QUIT is the interrupts' business.
        if self._inbox.received and self._inbox.take():
            self._draining = True
        return self._draining or self._interrupts.leaving

    def _worn_out(self) -> bool:
        if not self._wears:
            return False
        settings = self._settings
        if settings.worker_max_jobs is not None and self._ran >= settings.worker_max_jobs:
            return True
        return settings.worker_max_rss_mb is not None and proc.rss_mb() > settings.worker_max_rss_mb

    def _renew_lease(self) -> None:
        """A worker that was lost takes a new identity; one merely not beaten waits for the steward."""
        cell = self._cell
        # By the identity they were claimed with.
        self._settlement.flush()
        if cell.incarnation and not cell.lost:
            self._pause(0.1)
            return
        asked_at = time.monotonic()
        incarnation = self._session.run(
            lambda conn: workers.register(
                conn,
                name=f"{socket.gethostname()}/{cell.slot}",
                host=socket.gethostname(),
                pid=os.getpid(),
                pool=f"{socket.gethostname()}/{os.getppid()}",
                slot=cell.slot,
                lease_seconds=self._settings.lease_seconds,
            ),
            unless=self._leaving,
        )
        cell.lease_until = asked_at + self._settings.lease_seconds
        cell.incarnation = incarnation
        cell.lost = False
        log.info("registered as worker %d", incarnation)

    def _work_a_batch(self, hinted: bool) -> bool:
        """Claims and works a batch; False when there was nothing to claim. `hinted`: something is said to have come."""
        limit = self._pace.batch()
        for_all, self._looks_for_all = self._looks_for_all, False
        if for_all:
            self._board.looked_at = time.monotonic()
        for asked, _ in enumerate(self._lanes, 1):
            lane = self._lanes.pop(0)
            self._lanes.append(lane)
            claimed = self._claim(lane, limit, hinted)
            if claimed:
                if for_all and (len(claimed) == limit or asked < len(self._lanes)):
                    # Nobody was told of these, and there may be more, in queues not asked yet too: one worker an
                    # interval would join in.
                    self._wake_pipe.wake(sum(cell.role == WORKER for cell in self._board.living()) - 1)
                self._work(lane.queue, claimed)
                return True
        # No claim may have been sent that could have taken it along.
        self._settlement.flush()
        return False

    def _claim(self, lane: Lane, limit: int, hinted: bool) -> list[Claimed]:
        cell = self._cell

        def claim(conn: Connection) -> list[Claimed]:
            try:
                return lane.claim(conn, cell.incarnation, limit, hinted)
            except StorageError as error:
                # Whether it was carried out is not known: the steward looks.
                cell.astray_at = time.monotonic()
                if not isinstance(error, Rejected):
                    raise
                # A kept result cannot be stored, and nothing was done. A settle alone finds out which.
                self._settlement.flush()
                return lane.claim(conn, cell.incarnation, limit, hinted)

        # Whoever leaves in the middle of it leaves it so: the server may carry out what was sent for seconds yet.
        cell.claiming = True
        claimed = self._session.run(claim, unless=self._leaving)
        if claimed:
            self._claimed_at = time.monotonic()
            cell.begin([(job.id, job.fence) for job in claimed])
        cell.claiming = False
        return claimed

    def _work(self, queue: str, batch: list[Claimed]) -> None:
        metrics.claim_batch_size.observe(len(batch))
        metrics.jobs_in_flight.set(len(batch))
        self._pace.took(job.kind for job in batch)
        started = 0
        for index, job in enumerate(batch):
            if job.kind in self._pace.slow:
                # What is finished must not wait on the board for as long as this one takes.
                self._settlement.flush()
            now = time.monotonic()
            if self._leaving() or not self._cell.lease_holds(now) or (index and self._worn_out()):
                break
            started = index + 1
            self._run(queue, index, job, now)
        # What is kept now goes with the next claim.
        rest = {job.fence: (index, job) for index, job in enumerate(batch[started:], started)}
        if rest:
            self._settlement.release(rest[fence] for fence in self._cell.give_up(rest.keys()))
            self._tally.write()
        metrics.jobs_in_flight.set(0)

    def _run(self, queue: str, index: int, job: Claimed, began: float) -> None:
        deadline = began + job.timeout_seconds
        if not self._cell.start(index, now=began, kill_at=deadline + KILL_AFTER_SECONDS):
            # It was revoked: the steward gives it back.
            return
        outcome, follow_ups = self._execution.run(job, queue, began, deadline, self._claimed_at)
        ended = time.monotonic()
        seconds = ended - began
        self._tally.ran(job.kind, job.waited_seconds, seconds)
        self._pace.ran(job.kind, seconds)
        self._ran += 1
        if self._verbose:
            log.debug("%s %s attempt %s: %s", job.kind, job.id, job.attempt, type(outcome).__name__)
        self._settlement.settle(index, job, outcome, follow_ups, ended=ended)
        if ended >= self._settlement.due_at:
            self._settlement.flush()

    def _is_cancelled(self) -> bool:
        return self._cell.cancel_requested or self._cell.lost

    def _write_progress(self, job: Claimed, text: str) -> None:
        lease = Lease(job.id, job.fence)
        self._session.if_open(lambda conn: leases.report_progress(conn, self._cell.incarnation, lease, text))

    def _idle(self) -> bool:
        """Waits for a hint, the next due job or this worker's turn to look; True for a hint.

        The idle workers of a pool look once an interval between them, and not each: eight that did took a steady
        eight claims a second. Whoever finds that another has looked since waits on.
        """
        board = self._board
        poll = self._settings.poll_interval_ms / 1000
        now = time.monotonic()
        rest = min(lane.idle_seconds() for lane in self._lanes)
        if rest > poll:
            # Where a scan comes yet, that is nothing for others to rest on.
            board.looked_at = max(board.looked_at, min(lane.seen_at for lane in self._lanes))
        due_at = now + rest
        while not self._leaving() and self._cell.lease_holds(now):
            looked_at = board.looked_at
            # Not all at the same instant: the first to wake looks for all.
            until = min(due_at, looked_at + poll * random.uniform(0.9, 1.0))
            # One whose byte another took waits on: two that look for one job only slow each other down.
            if self._inbox.wait(until - now, self._wake_pipe.fileno()) and self._wake_pipe.woken():
                return True
            now = time.monotonic()
            if now >= due_at:
                break
            if now >= until and board.looked_at == looked_at:
                self._looks_for_all = True
                break
        return False

    def _pause(self, seconds: float) -> None:
        self._inbox.wait(seconds)
        self._leaving()
