"""The one child of a pool that keeps time: beat, reconcile, rescue, wake, prune, metrics."""

import logging
import random
import socket
import time

from sql import workers
from sql.connection import Connection, connect
from sql.errors import StorageError
from workerpool import exposition
from workerpool.board import WORKER, Board, Cell
from workerpool.duties import Duty
from workerpool.duties.heartbeat import Heartbeat
from workerpool.duties.prune import Prune
from workerpool.duties.reconcile import Reconcile
from workerpool.duties.rescue import Rescue
from workerpool.duties.wake import Wake
from workerpool.session import Session
from workerpool.settings import PoolSettings
from workerpool.signals import Inbox
from workerpool.wake_pipe import WakePipe

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 2.0
# No duty takes as long, unless the database is so slow that nothing is lost by starting anew.
_HUNG_SECONDS = 10.0


class Steward:
    """One steward process. It may die at any moment: all it knows stands in the tables and on the board."""

    def __init__(
        self,
        settings: PoolSettings,
        board: Board,
        cell: Cell,
        inbox: Inbox,
        wake_pipe: WakePipe,
        listener: socket.socket,
    ) -> None:
        self._board = board
        self._cell = cell
        self._inbox = inbox
        self._listener = listener
        self._database_url = settings.database_url
        self._session = Session(
            settings.database_url,
            "windlass steward",
            pause=inbox.wait,
            leaving=self._leaving,
            on_connect=self._on_connect,
        )
        self._outage_ended_at = float("-inf")
        self._failures = 0
        self._wake = Wake(wake_pipe)
        self._reconcile = Reconcile(board)
        duties: list[Duty] = [
            Heartbeat(board, settings.lease_seconds),
            self._reconcile,
            Rescue(settings.lease_seconds, lambda: self._outage_ended_at),
            Prune(settings.retention_days),
        ]
        self._due: list[tuple[Duty, float]] = [(duty, 0.0) for duty in duties]

    def run(self) -> int:
        """Until the supervisor lets it go, or is gone; the process's exit code."""
        exposition.serve(self._listener)
        while not self._leaving():
            woken = bool(self._inbox.take())
            self._show_life()
            try:
                self._session.once(lambda conn, woken=woken: self._pass(conn, woken))  # type: ignore[misc]
                self._failures = 0
                self._wait()
            except StorageError as error:
                # A missing right or a schema of another version is waited out too: a respawn would help it no sooner.
                self._note_outage(error)
        self._last_pass()
        self._session.close()
        return 0

    def _leaving(self) -> bool:
        return bool(self._board.closing) or self._board.orphaned

    def _pass(self, conn: Connection, woken: bool) -> None:
        self._wake.hear(conn)
        for index, (duty, due_at) in enumerate(self._due):
            if time.monotonic() >= due_at or (woken and duty.at_once):
                self._show_life()
                self._do(duty, conn)
                self._due[index] = (duty, time.monotonic() + duty.every)
                # Prune may take a while; a hint must not.
                self._wake.hear(conn)

    def _show_life(self) -> None:
        # The supervisor replaces a steward that hangs: without one the leases end and the workers stop.
        self._cell.kill_at = time.monotonic() + _HUNG_SECONDS

    @staticmethod
    def _do(duty: Duty, conn: Connection) -> None:
        try:
            duty.run(conn)
        except StorageError as error:
            if not conn.usable:
                raise
            # One that cannot be done must not keep the others from being done, nor the steward from living.
            log.error("%s failed: %s", type(duty).__name__, error)

    def _on_connect(self, conn: Connection) -> None:
        if self._failures:
            self._outage_ended_at = time.monotonic()
        self._wake.listen(conn, lambda: connect(self._database_url, application_name="windlass steward proof"))

    def _wait(self) -> None:
        seconds = min(due_at for _, due_at in self._due) - time.monotonic()
        fileno = self._session.fileno()
        self._inbox.wait(max(0.0, seconds), *(() if fileno is None else (fileno,)))

    def _note_outage(self, error: StorageError) -> None:
        self._failures += 1
        if self._failures % 20 == 1:
            log.warning("waiting for the database: %s", error)
        longest = min(_LONGEST_PAUSE_SECONDS, 0.05 * 2 ** min(self._failures, 10))
        self._inbox.wait(longest * random.uniform(0.5, 1.0))

    def _last_pass(self) -> None:
        """Settles what the workers left; whatever fails here is rescued by another steward when the lease is over."""
        self._bury_orphans()
        dead = [cell.incarnation for cell in self._board.dead() if cell.role == WORKER]

        def settle(conn: Connection) -> None:
            self._reconcile.run(conn)
            # A claim that the server still carries out for one of them is then rescued at once, by whoever comes next.
            workers.lose(conn, dead)

        try:
            self._session.once(settle)
        except StorageError as error:
            log.warning("the last pass failed, %d workers' jobs wait for their lease: %s", len(dead), error)

    def _bury_orphans(self) -> None:
        """A killed supervisor took its workers along and collected nobody: their deaths are recorded here."""
        if not self._board.orphaned:
            return
        orphans = [cell for cell in self._board.living() if cell.role == WORKER]
        give_up_at = time.monotonic() + 0.3
        while any(cell.alive for cell in orphans) and time.monotonic() < give_up_at:
            self._inbox.wait(0.01)
        for cell in orphans:
            if not cell.alive:
                cell.bury("killed with its supervisor", cause="crashed")
