"""The web process's connections: one per thread, opened on the thread's first use, so always after the fork.

A database that cannot be reached holds no request for 5 s, in whatever way it cannot be reached: a host that swallows
packets, a link that dies under a statement, a server that is there and frozen.
"""

import math
import threading
import time

import sql.connection
import sql.migrate
from sql.connection import Connection
from sql.errors import StorageError, Unavailable
from sql.overdue import Watch

_CONNECT_SECONDS = 2
_LINK_SECONDS = 3
# The server ends a slow statement itself; the watch is for a server that does nothing any more.
_STATEMENT_MS = 3500
# Nobody waits for a count of the background, and 500 million waiting jobs shall be counted too.
COUNT_MS = 60_000
_REQUEST_SECONDS = 4.0
# While a host swallows packets each attempt takes its full time. One thread finds out whether it is back; the others
# answer at once, or the requests in the queue would wait one behind the other.
_HOLD_OFF_SECONDS = 1.0
_SLOW_FAILURE_SECONDS = 0.5


class Database:
    """Lends each thread its connection for one request at a time."""

    def __init__(self, url: str, application_name: str = "windlass-web") -> None:
        self._url = url
        self._application_name = application_name
        self._local = threading.local()
        self._closed_until = 0.0
        self._watch = Watch()

    def connection(self) -> Connection:
        """This thread's connection until `give_back`, reopened if the server hung up. Raises Unavailable.

        However often a request borrows it, and for whatever, its time counts from the first.
        """
        until: float | None = getattr(self._local, "until", None)
        if until is None:
            until = self._local.until = time.monotonic() + _REQUEST_SECONDS
        kept: Connection | None = getattr(self._local, "kept", None)
        if kept is not None and not kept.usable:
            self.close()
            kept = None
        if kept is None:
            kept = self._local.kept = self._open()
        kept.needed_by = until
        return kept

    def give_back(self) -> None:
        """The thread's request is over, or needs nothing for a while: its time counts anew when it borrows again."""
        self._local.until = None
        kept: Connection | None = getattr(self._local, "kept", None)
        if kept is not None:
            kept.needed_by = math.inf

    def open(self, application_name: str, statement_ms: int = _STATEMENT_MS) -> Connection:
        """A connection of the caller's own. Raises Unavailable."""
        conn = sql.connection.connect(
            self._url,
            application_name=application_name,
            statement_timeout_ms=statement_ms,
            connect_timeout_s=_CONNECT_SECONDS,
            link_timeout_s=_LINK_SECONDS,
        )
        return self._watch.over(conn)

    def close(self) -> None:
        """Closes the calling thread's connection, if it has one."""
        kept: Connection | None = getattr(self._local, "kept", None)
        if kept is not None:
            kept.close()
            self._local.kept = None

    def _open(self) -> Connection:
        if time.monotonic() < self._closed_until:
            raise Unavailable("the database did not answer a moment ago")
        started = time.monotonic()
        try:
            conn = self.open(self._application_name)
        except Unavailable:
            if time.monotonic() - started > _SLOW_FAILURE_SECONDS:
                self._closed_until = time.monotonic() + _HOLD_OFF_SECONDS
            raise
        try:
            sql.migrate.check_supported(conn)
        except StorageError:
            conn.close()
            raise
        return conn
