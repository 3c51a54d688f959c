"""One guarded connection to PostgreSQL: autocommit, so one statement is one transaction and one round trip.

Nothing here is lost behind a pooler in transaction mode: no SET, no session lock, no server-side PREPARE.
"""

import math
import os
import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg2
import psycopg2.extensions

from sql.errors import (
    ConnectionOfAnotherProcess,
    Rejected,
    SchemaMissing,
    StorageError,
    Unavailable,
    UnknownCommit,
)

_SESSION_ENDED = {"57P01", "57P02", "57P03", "57P05", "25006"}
_BUSY = {"57014", "55P03", "40001", "40P01"}
_SCHEMA_ABSENT = {"42P01", "3F000", "42883", "42703"}
# Behind a pooler in transaction mode a session that once said LISTEN serves others too, who never read what it hears.
_MOST_NOTIFICATIONS = 1000
_REPLICATION_WAIT_CANCELLED = "canceling wait for synchronous replication"


class Connection:
    """A psycopg2 connection that speaks in our errors and refuses to be used by a process that did not open it.

    needed_by  when, on `time.monotonic()`, nobody wants an answer any more; and no statement owes one for longer than
               `longest_s`. Both are kept by whoever watches the connection (sql.overdue).
    """

    def __init__(self, raw: psycopg2.extensions.connection, longest_s: float = math.inf) -> None:
        self._raw = raw
        self._longest = longest_s
        self._answer_by = self.needed_by = math.inf
        self._pid = os.getpid()
        self._broken = False
        self._raw.autocommit = True
        self._raw.notifies = deque(maxlen=_MOST_NOTIFICATIONS)  # type: ignore[assignment]
        # Not select(), which knows no descriptor beyond 1,023: a web process may have as many clients.
        self._arrivals = select.poll()
        self._arrivals.register(self._raw.fileno(), select.POLLIN)

    def fetch_all(self, statement: str, **params: Any) -> list[tuple[Any, ...]]:
        """Every row. Raises Unavailable, Rejected or StorageError."""
        with self._raw_cursor() as cursor:
            self._run(cursor, statement, params)
            return cursor.fetchall()

    def fetch_one(self, statement: str, **params: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        with self._raw_cursor() as cursor:
            self._run(cursor, statement, params)
            return cursor.fetchone()

    def execute(self, statement: str, **params: Any) -> int:
        """Runs it and returns the number of rows it touched."""
        with self._raw_cursor() as cursor:
            self._run(cursor, statement, params)
            return cursor.rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Statements inside commit together, or not at all. The commit may raise like any statement."""
        self._check_owner()
        try:
            self._raw.autocommit = False
            yield
            self._check_owner()
            with self._asking():
                self._raw.commit()
        except psycopg2.Error as error:
            self._broken = True
            self._translate(error)
        except BaseException:
            self._roll_back()
            raise
        finally:
            if self._is_owner and not self._broken and not self._raw.closed:
                self._raw.autocommit = True
        self._check_notices()

    @property
    def usable(self) -> bool:
        """False when closed, broken, or hung up by the server while idle. Costs no round trip."""
        self._check_owner()
        if self._broken or self._raw.closed:
            return False
        try:
            # A server that goes away sends its reason and then the end of the stream: two reads at most.
            for _ in range(3):
                if not self._arrivals.poll(0):
                    return True
                self._raw.poll()
        except (psycopg2.Error, OSError, ValueError):
            self._broken = True
        return not self._broken

    def fileno(self) -> int:
        """The socket, for select. Raises Unavailable when the connection is closed."""
        try:
            return int(self._raw.fileno())
        except psycopg2.Error as error:
            self._translate(error)

    def notifications(self) -> list[str]:
        """Payloads received since the last call, at most the last 1,000. Raises Unavailable if the server has gone."""
        self._check_owner()
        try:
            self._raw.poll()
        except psycopg2.Error as error:
            self._broken = True
            self._translate(error)
        payloads = [notify.payload for notify in self._raw.notifies]
        self._raw.notifies.clear()
        return payloads

    def is_overdue(self, now: float) -> bool:
        """Whether an answer has been owed for too long. May be asked by another thread."""
        return now > min(self._answer_by, self.needed_by)

    @property
    def server_version(self) -> int:
        """As libpq says it: 150018 is 15.18."""
        return int(self._raw.server_version)

    def close(self) -> None:
        """Ends the session. A connection of another process is left alone: closing it would end the owner's."""
        if self._is_owner:
            self._raw.close()

    def _raw_cursor(self) -> psycopg2.extensions.cursor:
        self._check_owner()
        try:
            return self._raw.cursor()
        except psycopg2.Error as error:
            self._broken = True
            self._translate(error)

    def _run(self, cursor: psycopg2.extensions.cursor, statement: str, params: dict[str, Any]) -> None:
        try:
            with self._asking():
                cursor.execute(statement, params or None)
        except psycopg2.Error as error:
            self._translate(error)
        except (ValueError, UnicodeError) as error:
            raise Rejected("a text value holds a character PostgreSQL cannot store") from error
        if self._raw.notices and self._raw.autocommit:
            self._check_notices()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self._answer_by = time.monotonic() + self._longest
        try:
            yield
        finally:
            self._answer_by = math.inf

    def _check_notices(self) -> None:
        # A cancelled wait for the synchronous standby makes the commit *return*, with only this notice.
        notices, self._raw.notices[:] = list(self._raw.notices), []
        if any(_REPLICATION_WAIT_CANCELLED in notice for notice in notices):
            raise UnknownCommit("committed on the primary only: the wait for its standby was cancelled")

    def _roll_back(self) -> None:
        if not self._is_owner:
            # Forked inside the transaction: it is still the parent's.
            return
        try:
            with self._asking():
                self._raw.rollback()
        except psycopg2.Error:
            self._broken = True

    @property
    def _is_owner(self) -> bool:
        return self._pid == os.getpid()

    def _check_owner(self) -> None:
        if not self._is_owner:
            raise ConnectionOfAnotherProcess(
                f"connection of process {self._pid} used in process {os.getpid()}: open one after the fork"
            )

    def _translate(self, error: psycopg2.Error) -> NoReturn:
        ours, code = translated(error), error.pgcode
        lost = code is None and isinstance(ours, Unavailable)
        if self._raw.closed or lost or (code or "")[:2] == "08" or code in _SESSION_ENDED:
            self._broken = True
        raise ours from error


def translated(error: psycopg2.Error) -> StorageError:
    """Our error for the driver's."""
    code = error.pgcode
    if code is None:
        # A lost link is one of these; the other kinds are calls the driver itself refused.
        if (
            isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
            or type(error) is psycopg2.DatabaseError
        ):
            first_line = (str(error).strip().splitlines() or ["no answer"])[0]
            return Unavailable(f"the database cannot be reached: {first_line}")
        return StorageError(type(error).__name__)
    primary = error.diag.message_primary or type(error).__name__
    if code == "40003":
        return UnknownCommit(primary)
    # 58: the machine below it, a disk that answers with errors for one.
    if code[:2] in ("08", "53", "58") or code in _SESSION_ENDED or code in _BUSY:
        return Unavailable(f"the database cannot serve now: {primary} ({code})")
    if code in _SCHEMA_ABSENT:
        return SchemaMissing(f"the schema does not fit: {primary}; run `windlass migrate`")
    if code[:2] in ("22", "23", "54"):
        return Rejected(f"the database refuses a value ({code})", error.diag.constraint_name)
    return StorageError(f"{primary} ({code})")


def connect(
    url: str,
    *,
    application_name: str,
    statement_timeout_ms: int = 5000,
    connect_timeout_s: int = 3,
    link_timeout_s: int = 5,
) -> Connection:
    """Opens a connection to `url` (a libpq URL, `postgres://` too, or a key=value string).

    Raises Unavailable, or StorageError when the URL cannot be read.
    `link_timeout_s`: how long a dead link may hold a statement, about; 1 or more.
    """
    guards: dict[str, Any] = {
        "application_name": application_name,
        "connect_timeout": connect_timeout_s,
        **_link_guards(link_timeout_s),
    }
    limits = (
        f"-c statement_timeout={statement_timeout_ms} -c lock_timeout={statement_timeout_ms}"
        f" -c idle_in_transaction_session_timeout={4 * statement_timeout_ms}"
        # Compiling a list's statement took 35 to 590 ms of PostgreSQL 15, and running it a few.
        " -c jit=off"
    )
    try:
        given = psycopg2.extensions.parse_dsn(url)
    except psycopg2.ProgrammingError:
        # The driver's text repeats the URL, password and all.
        raise StorageError("the database's address is no libpq URL (postgresql://…) and no list of key=value") from None
    try:
        if "," in given.get("host", ""):
            # Of several hosts only the primary is of use; a standby that answers first would refuse every write.
            guards["target_session_attrs"] = "read-write"
        # What the URL says itself wins: somebody chose it.
        guards = {name: value for name, value in guards.items() if name not in given}
        options = f"{limits} {given.get('options', '')}".strip()
        try:
            raw = psycopg2.connect(url, options=options, **guards)
        except psycopg2.OperationalError as error:
            # Poolers refuse start-up options; there the limits are role defaults (sql/roles.sql).
            if "unsupported startup parameter" not in str(error):
                raise
            raw = psycopg2.connect(url, **guards)
    except psycopg2.Error as error:
        raise translated(error) from error
    # Where the URL sets a limit of its own for statements, nothing is known of how long one may take.
    ends_itself = statement_timeout_ms > 0 and "statement_timeout" not in given.get("options", "")
    return Connection(raw, statement_timeout_ms / 1000 + link_timeout_s if ends_itself else math.inf)


def _link_guards(seconds: int) -> dict[str, int]:
    # Both guards are needed: on a dead link tcp_user_timeout alone frees a sender in 5.3 s but leaves a waiting reader
    # blocked for hours, keepalives alone leave a sender; together 6.1 s.
    idle = max(1, seconds // 2)
    return {
        "keepalives": 1,
        "keepalives_idle": idle,
        "keepalives_interval": 1,
        "keepalives_count": max(1, seconds - idle),
        "tcp_user_timeout": seconds * 1000,
    }
