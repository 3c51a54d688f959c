"""Keeps the pool's leases: one beat for all its workers that live and are not stopped."""

import time

from sql import workers
from sql.connection import Connection
from workerpool.board import WORKER, Board


class Heartbeat:
    """A worker's lease is its heartbeat; the board says until when it holds, so a worker needs no query to know."""

    at_once = False

    def __init__(self, board: Board, lease_seconds: float) -> None:
        self._board = board
        self._lease_seconds = lease_seconds
        self.every = min(5.0, lease_seconds / 6)

    def run(self, conn: Connection) -> None:
        """Beats, and tells those that are lost."""
        cells = {
            cell.incarnation: cell
            for cell in self._board.living()
            if cell.role == WORKER and cell.incarnation and not cell.lost and cell.alive and not cell.stopped
        }
        if not cells:
            return
        asked_at = time.monotonic()
        beaten = workers.beat(conn, sorted(cells))
        for incarnation, cell in cells.items():
            if cell.incarnation != incarnation:
                continue
            if incarnation in beaten:
                cell.lease_until = asked_at + self._lease_seconds
            else:
                cell.lost = True
