"""A process's connection to the database, reopened for ever: an outage is waited out, never a reason to exit."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, wait_random_exponential

from sql.connection import Connection, connect
from sql.errors import ConnectionOfAnotherProcess, Rejected, StorageError, Unavailable
from sql.migrate import check_supported
from sql.overdue import Watch

log = logging.getLogger(__name__)
T = TypeVar("T")


class Abandoned(Exception):
    """The work on the database was given up because this process must leave now."""


class Session:
    """Runs work on a connection that it opens when needed, after the fork.

    `pause(seconds)` waits between tries and may return early; `leaving()` says whether to give up instead;
    `on_connect(conn)` prepares each new connection.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        pause: Callable[[float], object],
        leaving: Callable[[], bool],
        on_connect: Callable[[Connection], object] = lambda _: None,
    ) -> None:
        self._url = url
        self._name = name
        self._conn: Connection | None = None
        # A statement has ten seconds, its link five; and looks wake an idle worker: at one a second they were a quarter
        # of all that an idle pool takes.
        self._watch = Watch(every=4.0)
        self._pause = pause
        self._on_connect = on_connect
        self._leaving = leaving

    def run(self, work: Callable[[Connection], T], *, unless: Callable[[], bool] = lambda: False) -> T:
        """The result of `work`, repeated through outages: it must be safe to send again.

        Raises Abandoned when leaving or `unless`, Rejected when the database refuses a value. A schema this code cannot
        work with, or a right that was taken away, is waited out as well: a respawn would help it no sooner.
        """
        try:
            return self.once(work)
        except StorageError as error:
            if not _may_pass(error):
                raise
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=lambda _: self._leaving() or unless(),
            sleep=self._wait,
            before_sleep=self._tell,
        )
        try:
            result: T = retrying(self.once, work)
            return result
        except RetryError as error:
            raise Abandoned from error

    def once(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, tried once. Raises Unavailable and what `work` raises."""
        conn = self._connection()
        try:
            return work(conn)
        except Unavailable:
            if not conn.usable:
                self.close()
            raise

    def if_open(self, work: Callable[[Connection], T]) -> T | None:
        """The result of `work` on the connection there is, or None: it opens none, which may take seconds."""
        return None if self._conn is None or not self._conn.usable else self.once(work)

    def close(self) -> None:
        """Ends the session, if there is one."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def fileno(self) -> int | None:
        """The socket of the open connection, for select. Raises Unavailable when it broke."""
        return None if self._conn is None else self._conn.fileno()

    def _connection(self) -> Connection:
        if self._conn is None or not self._conn.usable:
            self.close()
            conn = self._watch.over(connect(self._url, application_name=self._name))
            try:
                check_supported(conn)
                self._on_connect(conn)
            except BaseException:
                conn.close()
                raise
            self._conn = conn
        return self._conn

    def _wait(self, seconds: float) -> None:
        self._pause(seconds)

    def _tell(self, state: RetryCallState) -> None:
        # The first try and then every tenth: an outage of an hour must not fill a disk.
        if state.attempt_number % 10 == 1 and state.outcome is not None:
            log.warning("waiting for the database: %s", state.outcome.exception())


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, StorageError) and not isinstance(error, Rejected | ConnectionOfAnotherProcess)
