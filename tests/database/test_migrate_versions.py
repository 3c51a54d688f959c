"""Old code and new schema, new code and old schema: who works with whom."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.database import open_connection
from support.migrations import NEXT, Folder

from sql.connection import Connection
from sql.errors import SchemaMissing, SchemaUnsupported
from sql.migrate import CURRENT, MigrationRefused, check_supported, migrate, status


def silent(_: str) -> None:
    """Tests read the database, not the log."""


@pytest.fixture
def conn(empty_database_url: str) -> Iterator[Connection]:
    opened = open_connection(empty_database_url)
    yield opened
    opened.close()


@pytest.fixture
def deploy(tmp_path: Path, empty_database_url: str) -> Callable[[int], None]:
    """Brings the database to the next version, whose oldest code is given."""
    folder = Folder(tmp_path / "migrations")

    def apply(oldest_code: int) -> None:
        folder.add("newer", "create table if not exists windlass.newer ()", oldest_code=oldest_code)
        migrate(empty_database_url, silent, folder.path)

    return apply


def test_the_schema_of_this_code_is_supported(empty_database_url: str, conn: Connection) -> None:
    migrate(empty_database_url, silent)
    check_supported(conn)


def test_no_schema_is_missing(conn: Connection) -> None:
    with pytest.raises(SchemaMissing, match="windlass migrate"):
        check_supported(conn)


def test_a_schema_older_than_the_code_is_missing(empty_database_url: str, conn: Connection) -> None:
    migrate(empty_database_url, silent)
    with pytest.raises(SchemaMissing, match=f"at version {CURRENT} and this code needs {NEXT}"):
        check_supported(conn, code=NEXT)


def test_migrate_refuses_a_schema_newer_than_its_code(
    empty_database_url: str, conn: Connection, deploy: Callable[[int], None]
) -> None:
    deploy(CURRENT)
    with pytest.raises(MigrationRefused, match="deploy newer code"):
        migrate(empty_database_url, silent)
    assert status(conn).problems != []


def test_services_work_on_a_newer_schema_that_says_they_may(conn: Connection, deploy: Callable[[int], None]) -> None:
    deploy(CURRENT)
    check_supported(conn)


def test_services_refuse_a_newer_schema_that_has_left_them_behind(
    conn: Connection, deploy: Callable[[int], None]
) -> None:
    deploy(NEXT)
    with pytest.raises(SchemaUnsupported, match=f"needs code of version {NEXT}"):
        check_supported(conn)


def test_code_once_left_behind_stays_so(conn: Connection, deploy: Callable[[int], None]) -> None:
    deploy(NEXT)
    deploy(CURRENT)
    with pytest.raises(SchemaUnsupported):
        check_supported(conn)


def test_a_file_changed_after_it_was_applied_is_refused(tmp_path: Path, empty_database_url: str) -> None:
    folder = Folder(tmp_path / "migrations")
    file = folder.add("more", "create table windlass.more ()")
    migrate(empty_database_url, silent, folder.path)
    file.write_text(file.read_text() + "-- one more word\n")
    folder.add("evenmore", "create table windlass.evenmore ()")
    with pytest.raises(MigrationRefused, match="its file has changed"):
        migrate(empty_database_url, silent, folder.path)


def test_a_gap_in_what_was_recorded_is_refused(empty_database_url: str, conn: Connection, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "migrations")
    folder.add("more", "create table windlass.more ()")
    migrate(empty_database_url, silent, folder.path)
    conn.execute("delete from windlass.schema_migrations where version = %(version)s", version=CURRENT)
    with pytest.raises(MigrationRefused, match="gap"):
        migrate(empty_database_url, silent, folder.path)
