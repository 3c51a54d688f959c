"""How many jobs wait and run: counted for whoever asks while that is cheap, now and then in the background when not.

The tables hold no totals: a row of counts that every batch updates falls to a fifth of its rate under a held snapshot,
and what triggers write costs each enqueue. So jobs that have not ended are counted: 50,000 in 10 to 15 ms, 200,000 in
30 ms, 10 million in 1.3 s.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import sql.stats
from sql.connection import Connection
from sql.errors import StorageError
from sql.rows import Unfinished

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 50_000
# Few rows take long too where many dead ones lie between them.
_DEAR_SECONDS = 0.1
# Counting takes a twentieth of the time, of all web processes together.
_REST = 19
_FIRST_COUNT_SECONDS = 2.5
_WANTED_SECONDS = 60.0
_AFTER_FAILURE_SECONDS = 1.0


class Counted(NamedTuple):
    """What had not ended, by queue, and how many seconds ago that was so."""

    queues: list[Unfinished]
    age: float


class Counts:
    """The counts of one web process. `connect` opens the connection of its thread, `processes` is how many count."""

    def __init__(self, connect: Callable[[], Connection], processes: int) -> None:
        self._connect = connect
        self._rest = _REST * processes
        self._changed = threading.Condition()
        self._dear = False
        self._counter: threading.Thread | None = None
        self._last: list[Unfinished] | None = None
        self._last_at = 0.0
        self._wanted_at = 0.0
        self._ended = False

    def read(self, conn: Connection) -> Counted | None:
        """The truth of this moment, or where counting is dear the last count; None when the first takes over 2.5 s.

        Raises Unavailable.
        """
        until = time.monotonic() + _FIRST_COUNT_SECONDS
        if self._dear:
            # Whether there is a database is never told from memory.
            sql.stats.ping(conn)
        else:
            queues = self._count(conn, _MOST_AT_ONCE)
            if queues is not None:
                return Counted(queues, 0.0)
        with self._changed:
            self._wanted_at = time.monotonic()
            if self._counter is None and not self._ended:
                # What was true long ago.
                self._last = None
                self._counter = threading.Thread(target=self._recount, name="counts", daemon=True)
                self._counter.start()
            self._changed.wait_for(lambda: self._last is not None or self._ended, until - self._wanted_at)
            return None if self._last is None else Counted(self._last, time.monotonic() - self._last_at)

    def end(self) -> None:
        """The process is to stop: nobody waits for a count, and none is begun any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _count(self, conn: Connection, at_most: int | None) -> list[Unfinished] | None:
        began = time.monotonic()
        try:
            queues = sql.stats.unfinished(conn, at_most)
        except StorageError:
            # Perhaps it took longer than a request's statement may.
            self._dear = self._dear or time.monotonic() - began > _DEAR_SECONDS
            raise
        self._dear = queues is None or _jobs(queues) > _MOST_AT_ONCE or time.monotonic() - began > _DEAR_SECONDS
        return queues

    def _recount(self) -> None:
        conn: Connection | None = None
        while True:
            began = time.monotonic()
            queues = None
            try:
                if conn is None:
                    conn = self._connect()
                queues = self._count(conn, None)
            except StorageError as error:
                log.warning("the queues were not counted: %s", error)
                if conn is not None:
                    conn.close()
                conn = None
            if self._is_over(began, queues):
                break
        if conn is not None:
            conn.close()

    def _is_over(self, began: float, queues: list[Unfinished] | None) -> bool:
        """Publishes a count and rests; True when the thread is not needed any more."""
        now = time.monotonic()
        rest = _AFTER_FAILURE_SECONDS if queues is None else self._rest * (now - began)
        with self._changed:
            if queues is not None:
                self._last, self._last_at = queues, now
                self._changed.notify_all()
            if self._dear:
                self._changed.wait_for(lambda: self._ended, rest)
            unwanted = time.monotonic() - self._wanted_at > max(_WANTED_SECONDS, 2 * rest)
            if not self._dear or unwanted or self._ended:
                self._counter = None
                return True
            return False


def _jobs(queues: list[Unfinished]) -> int:
    return sum(queue.queued + queue.retrying + queue.running for queue in queues)
