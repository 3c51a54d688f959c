"""The web process's connections: one per thread, opened on the thread's first use, so always after the fork."""

import threading
import time

import sql.connection
import sql.migrate
from sql.connection import Connection
from sql.errors import StorageError, Unavailable

# Together they keep a request under 5 s when the database cannot be reached: 2 s to connect, or 3 s until a link that
# went dead under a statement is given up.
_CONNECT_SECONDS = 2
_LINK_SECONDS = 3
_STATEMENT_MS = 4000
# While a host swallows packets each attempt takes the full 2 s. One thread at a time finds out whether it is back;
# the others answer at once, or a queue of requests would wait one behind the other.
_HOLD_OFF_SECONDS = 1.0
_SLOW_FAILURE_SECONDS = 0.5


class Database:
    """Hands out the calling thread's connection. Opening it is the only thing that waits."""

    def __init__(self, url: str, application_name: str = "windlass-web") -> None:
        self._url = url
        self._application_name = application_name
        self._local = threading.local()
        self._closed_until = 0.0

    def connection(self) -> Connection:
        """This thread's connection, reopened if the server hung up. Raises Unavailable within 2 s a host."""
        conn: Connection | None = getattr(self._local, "connection", None)
        if conn is not None:
            if conn.usable:
                return conn
            conn.close()
            self._local.connection = None
        if time.monotonic() < self._closed_until:
            raise Unavailable("the database did not answer a moment ago")
        conn = self._open()
        self._local.connection = conn
        return conn

    def open(self, application_name: str) -> Connection:
        """A connection of the caller's own, under the same limits. Raises Unavailable."""
        return sql.connection.connect(
            self._url,
            application_name=application_name,
            statement_timeout_ms=_STATEMENT_MS,
            connect_timeout_s=_CONNECT_SECONDS,
            link_timeout_s=_LINK_SECONDS,
        )

    def close(self) -> None:
        """Closes the calling thread's connection, if it has one."""
        conn: Connection | None = getattr(self._local, "connection", None)
        if conn is not None:
            conn.close()
            self._local.connection = None

    def _open(self) -> Connection:
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
