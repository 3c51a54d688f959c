"""Makes the tables agree with the board, by level and not by message, so that the steward itself may die at any moment.

Of what this pool's workers hold in `running`: finished by one that is dead, stopped or busy with the next job → ack;
running in a dead one → failed with its exit as the error, runnable at once; claimed and not started by one that is dead
or busy for long → released; on no board (the claim's answer was lost) → released. All by fence, so a worker that was
quicker loses nothing.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from sql import hints, leases, workers
from sql.connection import Connection
from sql.errors import Rejected
from sql.leases import Failure, Lease
from sql.rows import Held
from workerpool import metrics
from workerpool.board import WORKER, Board, Cell, Entry, State

log = logging.getLogger(__name__)

# While nothing is claimed only a lost claim could be found, so the look is rarer.
_IDLE_SECONDS = 5.0
# A claim under way when its worker died is still carried out by the server, at the longest until its statement timeout
# (5 s): the death is kept until that is over, or what it took would be rescued at the cost of an attempt.
_AFTERMATH_SECONDS, _AFTERMATH_OF_CLAIM_SECONDS = 1.0, 6.0
# What waits in a worker's hands behind a job that takes this long is taken back.
_LONG_SECONDS = 0.1


class Reconcile:
    """The comparison. It keeps nothing that its successor would miss."""

    every = 1.0
    at_once = True

    def __init__(self, board: Board) -> None:
        self._board = board
        self._last_look = 0.0
        self._died_at: dict[int, float] = {}

    def run(self, conn: Connection) -> None:
        """One look."""
        now = time.monotonic()
        dead = [cell for cell in self._board.dead() if cell.role == WORKER]
        living = [cell for cell in self._board.living() if cell.role == WORKER and cell.incarnation]
        if not dead and now - self._last_look < _IDLE_SECONDS and not any(map(_holds, living)):
            return
        self._last_look = now
        held: dict[int, list[Held]] = defaultdict(list)
        # The tables first, then the board: what was settled in between is refused by its fence.
        incarnations = [cell.incarnation for cell in (*dead, *living)]
        for row in leases.held(conn, incarnations) if incarnations else ():
            held[row.worker_id].append(row)
        runnable = 0
        for cell in living:
            runnable += self._look_at_living(conn, cell, held[cell.incarnation])
        for cell in dead:
            runnable += settle_dead(conn, cell, held[cell.incarnation])
            self._bury(conn, cell, now, clean=not held[cell.incarnation])
        if runnable:
            # Of any pool: the workers of this one may all be busy.
            hints.hint(conn, runnable)

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
        if clean and now - died_at >= (_AFTERMATH_OF_CLAIM_SECONDS if cell.claiming else _AFTERMATH_SECONDS):
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


def _holds(cell: Cell) -> bool:
    entries = cell.entries()
    return entries is None or any(entry.state not in (State.SETTLED, State.REVOKED) for entry in entries)


def _runs_long(cell: Cell, now: float) -> bool:
    since = cell.running_since
    return since > 0 and now - since > _LONG_SECONDS
