"""Makes the tables agree with the board, by level and not by message, so that the steward itself may die at any moment.

Of what this pool's workers hold in `running`: finished by one that is dead, stopped or busy with the next job → ack;
running in a dead one → failed with its exit as the error, runnable at once; claimed and not started by one that is dead
or busy for long → released; on no board (the claim's answer was lost) → released. All by fence, so a worker that was
quicker loses nothing.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sql import hints, leases, workers
from sql.connection import Connection
from sql.errors import Rejected
from sql.leases import Failure, Lease
from sql.rows import Held
from workerpool import metrics
from workerpool.board import WORKER, Board, Cell, Entry, State

log = logging.getLogger(__name__)

# What waits in a worker's hands behind a job that takes this long is taken back; the board is cheap to look at.
_LONG_SECONDS = 0.1
_GLANCE_SECONDS = 0.25
_LOOK_SECONDS = 1.0
# All of `running` is read when a worker died or a claim of one failed; this often in case that was not noticed.
_THOROUGH_SECONDS = 30.0
# A claim that failed, or was under way when its worker died, may be carried out yet, at the longest until its statement
# timeout (5 s): all is read, and the death kept, until that is over. Else what it took would wait for the next thorough
# look, or be rescued at the cost of an attempt.
_AFTERMATH_SECONDS, _AFTERMATH_OF_CLAIM_SECONDS = 1.0, 6.0


class Reconcile:
    """The comparison. It keeps nothing that its successor would miss."""

    every = _GLANCE_SECONDS
    at_once = True

    def __init__(self, board: Board) -> None:
        self._board = board
        self._look_at = 0.0
        self._thorough_at = 0.0
        self._died_at: dict[int, float] = {}

    def run(self, conn: Connection) -> None:
        """One look, if the board gives a reason for one."""
        now = time.monotonic()
        dead = [cell for cell in self._board.dead() if cell.role == WORKER]
        living = [cell for cell in self._board.living() if cell.role == WORKER and cell.incarnation]
        thorough = bool(dead) or any(_astray(cell, now) for cell in living) or now >= self._thorough_at
        if not (thorough or (now >= self._look_at and any(cell.holds for cell in living)) or any(map(_blocks, living))):
            return
        self._look_at = now + _LOOK_SECONDS
        # The tables first, then the board: what was settled in between is refused by its fence.
        held = self._held_by(conn, [*dead, *living], now) if thorough else self._held(conn, living)
        runnable = 0
        for cell in living:
            runnable += self._look_at_living(conn, cell, held[cell.incarnation])
        for cell in dead:
            runnable += settle_dead(conn, cell, held[cell.incarnation])
            self._bury(conn, cell, now, clean=not held[cell.incarnation])
        if runnable:
            # Of any pool: the workers of this one may all be busy.
            hints.hint(conn, runnable)

    def _held_by(self, conn: Connection, cells: Sequence[Cell], now: float) -> dict[int, list[Held]]:
        self._thorough_at = now + _THOROUGH_SECONDS
        return _by_worker(leases.held_by(conn, [cell.incarnation for cell in cells]) if cells else ())

    def _held(self, conn: Connection, living: Sequence[Cell]) -> dict[int, list[Held]]:
        on_board = [entry.job_id for cell in living for entry in cell.entries() or () if entry.state != State.SETTLED]
        return _by_worker(leases.held(conn, on_board) if on_board else ())

    def _look_at_living(self, conn: Connection, cell: Cell, held: Sequence[Held]) -> int:
        """Settles what can be settled beside a living worker; how many jobs may run again."""
        # Read after the tables and before the board: if no claim is under way now, then whatever was held
        # has been on the board, and what is not there any more is settled, or its claim's answer was lost.
        claiming = cell.claiming
        entries = cell.entries()
        if entries is None:
            # It is stopped with its lock held; its lease will run out.
            return 0
        by_fence = {entry.fence: entry for entry in entries}
        long = _runs_long(cell, time.monotonic())
        if long or cell.stopped:
            # The worker counts them, when it comes to settle them and finds it done.
            _ack_finished(conn, cell, held, by_fence)
        revoke = [
            row
            for row in held
            if (entry := by_fence.get(row.fence)) is not None
            and entry.state is State.CLAIMED
            and (row.cancel_requested or long)
        ]
        really = set(cell.revoke([row.fence for row in revoke])) if revoke else set()
        # What an earlier look revoked and could not release is released now.
        released = _release(
            conn,
            cell,
            [
                row
                for row in held
                if row.fence in really
                or (not claiming and row.fence not in by_fence)
                or ((entry := by_fence.get(row.fence)) is not None and entry.state is State.REVOKED)
            ],
        )
        for row in held:
            if row.cancel_requested and row.fence in by_fence:
                cell.request_cancel(row.fence)
        return released

    def _bury(self, conn: Connection, cell: Cell, now: float, *, clean: bool) -> None:
        died_at = self._died_at.setdefault(cell.incarnation, now)
        aftermath = _AFTERMATH_OF_CLAIM_SECONDS if cell.claiming else _AFTERMATH_SECONDS
        if clean and now - died_at >= aftermath and not _astray(cell, now):
            workers.lose(conn, [cell.incarnation])
            self._died_at.pop(cell.incarnation)
            cell.free()


def settle_dead(conn: Connection, cell: Cell, held: Sequence[Held]) -> int:
    """Settles what a dead worker held; how many jobs may run again."""
    if not held:
        return 0
    entries = cell.entries()
    if entries is None:
        # The supervisor looks at the cell just now; without its entries what is finished would run again.
        return 0
    by_fence = {entry.fence: entry for entry in entries}
    for row, status in _ack_finished(conn, cell, held, by_fence):
        metrics.jobs_completed.labels(row.kind, status).inc()
    crashed, unstarted = [], []
    for row in held:
        entry = by_fence.get(row.fence)
        if entry is not None and entry.state is State.FINISHED:
            continue
        if entry is not None and entry.state is State.RUNNING and cell.cause != "drained":
            crashed.append(row)
        else:
            unstarted.append(row)
    retrying = 0
    if crashed:
        error = f"worker {cell.incarnation} (pid {cell.pid}) {cell.sentence} while running this job"
        answer = leases.fail(conn, cell.incarnation, [Failure(Lease(row.id, row.fence), error) for row in crashed])
        for row in crashed:
            if row.id in answer:
                metrics.jobs_completed.labels(row.kind, answer[row.id]).inc()
                log.warning("job %s is %s: %s", row.id, answer[row.id], error)
                retrying += answer[row.id] == "retrying"
    return retrying + _release(conn, cell, unstarted)


def _ack_finished(
    conn: Connection, cell: Cell, held: Sequence[Held], by_fence: dict[int, Entry]
) -> list[tuple[Held, str]]:
    """Settles what is finished; those settled now, each with the status it went to."""
    finished = [
        (row, entry.result)
        for row in held
        if (entry := by_fence.get(row.fence)) is not None and entry.state is State.FINISHED
    ]
    try:
        return _ack(conn, cell, finished)
    except Rejected:
        return [settled for one in finished for settled in _ack_alone(conn, cell, one)]


def _ack(conn: Connection, cell: Cell, finished: Sequence[tuple[Held, bytes | None]]) -> list[tuple[Held, str]]:
    if not finished:
        return []
    results = [(Lease(row.id, row.fence), None if result is None else result.decode()) for row, result in finished]
    acked = leases.ack(conn, cell.incarnation, results)
    return [(row, "succeeded") for row, _ in finished if row.id in acked]


def _ack_alone(conn: Connection, cell: Cell, one: tuple[Held, bytes | None]) -> list[tuple[Held, str]]:
    """One result the database refuses must hold back neither its neighbours nor the steward."""
    try:
        return _ack(conn, cell, [one])
    except Rejected as error:
        row = one[0]
        refused = Failure(Lease(row.id, row.fence), f"the result cannot be stored: {error}", permanent=True)
        return [(row, status) for status in leases.fail(conn, cell.incarnation, [refused]).values()]


def _release(conn: Connection, cell: Cell, rows: Sequence[Held]) -> int:
    if not rows:
        return 0
    released = leases.release(conn, cell.incarnation, [Lease(row.id, row.fence) for row in rows])
    for row in rows:
        if row.id in released:
            metrics.jobs_completed.labels(row.kind, "released").inc()
    return len(released)


def _by_worker(rows: Iterable[Held]) -> dict[int, list[Held]]:
    held: dict[int, list[Held]] = defaultdict(list)
    for row in rows:
        held[row.worker_id].append(row)
    return held


def _astray(cell: Cell, now: float) -> bool:
    """The server may still carry out a claim of which the worker knows only that it failed."""
    return cell.astray_at > 0 and now - cell.astray_at < _AFTERMATH_OF_CLAIM_SECONDS


def _blocks(cell: Cell) -> bool:
    """A long job runs, and others wait behind it."""
    return _runs_long(cell, time.monotonic()) and cell.keeps_waiting


def _runs_long(cell: Cell, now: float) -> bool:
    since = cell.running_since
    return since > 0 and now - since > _LONG_SECONDS
