"""Tells the pools that work came: after the commit, on a connection of its own, coalesced, and lost without harm.

A NOTIFY inside the enqueue's transaction would hold all enqueuers together at 5k commits/s.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable

import sql.hints
from sql.connection import Connection
from sql.errors import StorageError

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.005
_AFTER_FAILURE_SECONDS = 1.0
_LAST_CHANCE_SECONDS = 1.0


class HintSender:
    """One thread per process, started by its first `send`, so never before a fork.

    It sends the sum of what was reported at most every 5 ms, the trailing one too.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._pending = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._pid: int | None = None
        self._thread: threading.Thread | None = None

    def send(self, count: int) -> None:
        """Reports `count` new jobs. Never waits for the database and never fails."""
        if count <= 0:
            return
        with self._lock:
            if self._pid != os.getpid():
                self._start()
            self._pending += count
        if not self._wake.is_set():
            self._wake.set()

    def stop(self) -> None:
        """Sends what is pending and ends the thread; at most 1 s."""
        if self._thread is None or self._pid != os.getpid():
            return
        self._stop.set()
        self._wake.set()
        self._thread.join(_LAST_CHANCE_SECONDS)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._pending = 0
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def _run(self) -> None:
        conn: Connection | None = None
        while not (self._stop.is_set() and not self._pending):
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                count, self._pending = self._pending, 0
            if count:
                conn = self._sent(conn, count)
                self._stop.wait(_AFTER_FAILURE_SECONDS if conn is None else _INTERVAL_SECONDS)
        if conn is not None:
            conn.close()

    def _sent(self, conn: Connection | None, count: int) -> Connection | None:
        try:
            if conn is None or not conn.usable:
                conn = self._connect()
            sql.hints.hint(conn, count)
            return conn
        except StorageError as error:
            log.debug("hint of %d jobs lost: %s", count, error)
            if conn is not None:
                conn.close()
            return None
