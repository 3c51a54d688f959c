"""Brings a database's schema to the version of this code, by the numbered files of `sql/migrations`, forward only.

A file `NNNN_name.sql` begins with comment lines; two of them speak to this runner:

    -- oldest code: N            the version of the oldest code that still works after it: during a deploy both run
    -- outside a transaction     for `create index concurrently`; its statements are separated by lines `-- next`, and
                                 must do no harm when a killed run is repeated (drop the half-made index first)

All other files run in one transaction each, with the note that they did, so a killed run leaves nothing half done. Any
number may run at once. Only this runner refuses a schema newer than its code; services accept it as far as it says.
"""

import hashlib
import os
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sql.connection import Connection, connect
from sql.errors import SchemaMissing, SchemaUnsupported, StorageError, Unavailable
from sql.statements import load

MIGRATIONS = Path(__file__).parent / "migrations"
_SQL = load("migrate")
_KEY = int.from_bytes(b"windlass")
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_OLDEST_CODE = re.compile(r"^-- oldest code: *(\d+) *$", re.MULTILINE)
_OUTSIDE = re.compile(r"^-- outside a transaction *$", re.MULTILINE)
_NEXT = re.compile(r"^-- next *$", re.MULTILINE)
_LOCK_WAIT_MS = 2000
_LOCK_TRIES = 30
_PATIENCE_SECONDS = 600.0
_GIVEN_UP_ON_A_LOCK = {"55P03", "40P01"}


class MigrationRefused(StorageError):
    """The files or the database are not as a migration may find them. Nothing was changed."""


class Migration(NamedTuple):
    """One file."""

    version: int
    name: str
    text: str
    checksum: str
    oldest_code: int
    outside: bool


class Applied(NamedTuple):
    """One row of what was applied; the time is RFC 3339 text."""

    version: int
    name: str
    checksum: str
    oldest_code: int
    applied_at: str


class Status(NamedTuple):
    """What was applied, what is still to come, and what forbids to go on."""

    applied: list[Applied]
    pending: list[str]
    problems: list[str]


def _leading_comments(text: str) -> list[str]:
    lines = text.splitlines()
    end = next((n for n, line in enumerate(lines) if line and not line.startswith("--")), len(lines))
    return lines[:end]


def shipped(folder: Path = MIGRATIONS) -> list[Migration]:
    """The migrations in `folder`, in order. Raises MigrationRefused for a bad name or header, or a gap."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        name = _FILE_NAME.fullmatch(path.name)
        text = path.read_text(encoding="utf-8")
        header = "\n".join(_leading_comments(text))
        oldest = _OLDEST_CODE.search(header)
        if name is None or oldest is None:
            raise MigrationRefused(f"{path.name}: must be named NNNN_name.sql and begin with '-- oldest code: N'")
        version, checksum = int(name[1]), hashlib.sha256(text.encode()).hexdigest()
        if version != len(found) + 1:
            raise MigrationRefused(f"{path.name}: the migration before it must be number {len(found)}")
        found.append(Migration(version, name[2], text, checksum, int(oldest[1]), _OUTSIDE.search(header) is not None))
    return found


CURRENT = len(shipped())


def _print_now(line: str) -> None:
    # A deploy's log is a pipe, and a waiting migration must be seen to wait.
    print(line, flush=True)


def migrate(url: str, log: Callable[[str], None] = _print_now, folder: Path = MIGRATIONS) -> list[str]:
    """Applies what is missing and returns its names. Not through a pooler in transaction mode.

    Raises MigrationRefused, Unavailable, or what the database says to a file; the files before it stay applied.
    """
    migrations = shipped(folder)
    conn = connect(url, application_name="windlass migrate", statement_timeout_ms=0)
    try:
        applied = []
        while (migration := _patiently(lambda: _apply_next(conn, migrations), log)) is not None:
            applied.append(f"{migration.version:04d}_{migration.name}")
            log(f"applied {applied[-1]}")
        return applied
    finally:
        conn.close()


def status(conn: Connection, folder: Path = MIGRATIONS) -> Status:
    """Where the database stands against the files in `folder`. Changes nothing."""
    migrations = shipped(folder)
    applied = _history(conn)
    pending = [f"{m.version:04d}_{m.name}" for m in migrations[len(applied) :]]
    return Status(applied, pending, _problems(applied, migrations))


def check_supported(conn: Connection, code: int = CURRENT) -> None:
    """For services: returns when code of version `code` may work on this schema.

    Raises SchemaMissing when it is not there or too old, SchemaUnsupported when a newer one has left this code behind.
    """
    applied = _history(conn)
    version = applied[-1].version if applied else 0
    if version < code:
        raise SchemaMissing(f"the schema is at version {version} and this code needs {code}: run `windlass migrate`")
    oldest = max((row.oldest_code for row in applied if row.version > code), default=code)
    if oldest > code:
        raise SchemaUnsupported(
            f"the schema is at version {version} and needs code of version {oldest}, this is {code}: deploy newer code"
        )


class _Busy(Exception):
    """Somebody else migrates, or a table is locked for longer than we may wait in line."""


def _patiently(attempt: Callable[[], Migration | None], log: Callable[[str], None]) -> Migration | None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    busy_tables = 0
    said = ""
    while True:
        try:
            return attempt()
        except _Busy as busy:
            if time.monotonic() > give_up:
                raise Unavailable(f"{busy}, for {_PATIENCE_SECONDS:.0f} s") from None
            if said != str(busy):
                said = str(busy)
                log(f"{busy}: waiting")
        except Unavailable as error:
            if getattr(error.__cause__, "pgcode", None) not in _GIVEN_UP_ON_A_LOCK or busy_tables == _LOCK_TRIES:
                raise
            busy_tables += 1
            log(f"a table is in use, trying again ({busy_tables} of {_LOCK_TRIES})")
        time.sleep(random.uniform(0.05, 0.2))


def _apply_next(conn: Connection, migrations: Sequence[Migration]) -> Migration | None:
    """Applies the first missing one and returns it; None when none is missing."""
    with conn.transaction():
        _take(conn, "try_lock")
        migration = _first_missing(conn, migrations)
        if migration is None:
            return None
        if not migration.outside:
            _make_history(conn)
            conn.execute(_SQL["guard"], lock_wait_ms=_LOCK_WAIT_MS, in_transaction=True)
            conn.execute(migration.text)
            _record(conn, migration)
            return migration
    _take(conn, "try_session_lock")
    try:
        if _first_missing(conn, migrations) != migration:
            raise _Busy("another migration was quicker")
        # These wait for every transaction older than themselves, and nobody waits for them meanwhile.
        conn.execute(_SQL["guard"], lock_wait_ms=0, in_transaction=False)
        for statement in _NEXT.split(migration.text):
            conn.execute(statement)
        _record(conn, migration)
        return migration
    finally:
        if conn.usable:
            conn.fetch_one(_SQL["session_unlock"], key=_KEY)


def _take(conn: Connection, lock: str) -> None:
    if conn.fetch_one(_SQL[lock], key=_KEY) != (True,):
        raise _Busy("another migration is running")


def _first_missing(conn: Connection, migrations: Sequence[Migration]) -> Migration | None:
    applied = _history(conn)
    problems = _problems(applied, migrations)
    if problems:
        raise MigrationRefused("; ".join(problems))
    return migrations[len(applied)] if len(applied) < len(migrations) else None


def _history(conn: Connection) -> list[Applied]:
    if conn.fetch_one(_SQL["history_exists"]) != (True,):
        return []
    return [Applied(*row) for row in conn.fetch_all(_SQL["history"])]


def _make_history(conn: Connection) -> None:
    if conn.fetch_one(_SQL["schema_exists"]) != (True,):
        conn.execute(_SQL["create_schema"])
    if conn.fetch_one(_SQL["history_exists"]) != (True,):
        conn.execute(_SQL["create_history"])


def _record(conn: Connection, migration: Migration) -> None:
    conn.execute(
        _SQL["record"],
        version=migration.version,
        name=migration.name,
        checksum=migration.checksum,
        oldest_code=migration.oldest_code,
    )


def _problems(applied: Sequence[Applied], migrations: Sequence[Migration]) -> list[str]:
    versions = [row.version for row in applied]
    if versions != list(range(1, len(versions) + 1)):
        return [f"the recorded migrations have a gap: {versions}"]
    problems = [
        f"migration {row.version:04d} was {row.name} when it was applied and its file has changed since: "
        "restore the file and write a new migration"
        for row, file in zip(applied, migrations, strict=False)
        if (row.name, row.checksum) != (file.name, file.checksum)
    ]
    if len(applied) > len(migrations):
        problems.append(
            f"the schema is at version {len(applied)} and this code knows only {len(migrations)}: deploy newer code"
        )
    return problems


def main() -> int:
    """`python -m sql.migrate`: migrates DATABASE_URL. Errors are one line on stderr."""
    try:
        url = os.environ.get("DATABASE_URL", "")
        if not url:
            raise MigrationRefused("DATABASE_URL is not set")
        if not migrate(url):
            print(f"nothing to do: the schema is at version {CURRENT}")
    except StorageError as error:
        print(f"migrate failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
