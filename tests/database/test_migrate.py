"""Applying migrations: in order, once, all or nothing each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database import open_connection
from support.migrations import NEXT, ROOT, SHIPPED, Folder
from support.waiting import until

from sql.connection import Connection
from sql.errors import StorageError
from sql.migrate import CURRENT, MigrationRefused, migrate, status


def silent(_: str) -> None:
    """Tests read the database, not the log."""


@pytest.fixture
def url(empty_database_url: str) -> str:
    return empty_database_url


@pytest.fixture
def conn(url: str) -> Iterator[Connection]:
    opened = open_connection(url)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


def exists(conn: Connection, name: str) -> bool:
    return conn.fetch_one(f"select to_regclass('{name}') is not null") == (True,)


def test_a_fresh_database_gets_every_migration_in_order(url: str, conn: Connection) -> None:
    assert migrate(url, silent) == SHIPPED
    assert [row.version for row in status(conn).applied] == list(range(1, CURRENT + 1))
    assert status(conn).pending == []
    assert status(conn).problems == []


def test_before_the_first_run_everything_is_pending(conn: Connection) -> None:
    assert status(conn).applied == []
    assert status(conn).pending == SHIPPED


def test_a_second_run_changes_nothing(url: str, conn: Connection) -> None:
    migrate(url, silent)
    before = status(conn)
    assert migrate(url, silent) == []
    assert status(conn) == before


def test_only_what_is_missing_is_applied(url: str, folder: Folder) -> None:
    migrate(url, silent)
    folder.add("more", "create table windlass.more ()")
    assert migrate(url, silent, folder.path) == [f"{NEXT:04d}_more"]


def test_six_runs_at_once_apply_each_file_once(url: str, conn: Connection, folder: Folder) -> None:
    names = [folder.add(f"part{n}", f"create table windlass.part{n} (); select pg_sleep(0.1)").stem for n in range(4)]
    runs = [folder.process(url) for _ in range(6)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, outputs
    applied = [line.removeprefix("applied ") for out in outputs for line in out.splitlines() if "applied" in line]
    assert sorted(applied) == SHIPPED + names
    assert status(conn, folder.path).pending == []


def test_a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(
    url: str, conn: Connection, folder: Folder
) -> None:
    folder.add("good", "create table windlass.good ()")
    folder.add("bad", "create table windlass.bad (); select 1 / 0")
    with pytest.raises(StorageError):
        migrate(url, silent, folder.path)
    assert exists(conn, "windlass.good")
    assert not exists(conn, "windlass.bad")
    assert len(status(conn, folder.path).pending) == 1


def test_a_run_killed_in_the_middle_is_finished_by_the_next(url: str, conn: Connection, folder: Folder) -> None:
    file = folder.add("slow", "create table windlass.slow (); select pg_sleep(60) where to_regclass('hurry') is null")
    killed = folder.process(url)
    until(lambda: sleeping(conn), 20, "the migration is in the middle")
    killed.kill()
    killed.communicate()
    assert not exists(conn, "windlass.slow")
    conn.execute("create table hurry ()")
    assert migrate(url, silent, folder.path) == [file.stem]
    assert exists(conn, "windlass.slow")


def test_a_table_in_use_is_waited_for_without_blocking_those_behind(url: str, conn: Connection, folder: Folder) -> None:
    migrate(url, silent)
    folder.add("alter", "alter table windlass.queues add column note text")
    with conn.transaction():
        conn.execute("lock table windlass.queues in access share mode")
        run = folder.process(url)
        assert run.stdout is not None
        assert "a table is in use, trying again" in run.stdout.readline()
    assert run.communicate(timeout=30)[0] == f"applied {NEXT:04d}_alter\n"


def test_a_statement_outside_a_transaction_is_applied_and_recorded(url: str, conn: Connection, folder: Folder) -> None:
    folder.add("index", OUTSIDE)
    assert migrate(url, silent, folder.path) == [*SHIPPED, f"{NEXT:04d}_index"]
    assert exists(conn, "windlass.queues_paused")
    assert status(conn, folder.path).pending == []


def test_six_runs_at_once_apply_a_statement_outside_a_transaction_once(
    url: str, conn: Connection, folder: Folder
) -> None:
    folder.add("index", OUTSIDE)
    runs = [folder.process(url) for _ in range(6)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, outputs
    assert sum("_index" in out for out in outputs) == 1
    assert status(conn, folder.path).pending == []


def test_a_statement_outside_a_transaction_killed_in_the_middle_is_repeated(
    url: str, conn: Connection, folder: Folder
) -> None:
    migrate(url, silent)
    folder.add("index", OUTSIDE)
    with conn.transaction():
        # Building waits for every writer of the table, so this holds it in the middle.
        conn.execute("insert into windlass.queues (name) values ('held')")
        killed = folder.process(url)
        watcher = open_connection(url)
        until(lambda: exists(watcher, "windlass.queues_paused"), 20, "the index is begun")
        killed.kill()
        killed.communicate()
    watcher.close()
    assert migrate(url, silent, folder.path) == [f"{NEXT:04d}_index"]
    valid = "select indisvalid from pg_index where indexrelid = 'windlass.queues_paused'::regclass"
    assert conn.fetch_one(valid) == (True,)


def test_the_command_needs_an_address() -> None:
    ran = run_command("")
    assert ran.returncode == 1
    assert ran.stderr == "migrate failed: DATABASE_URL is not set\n"


def test_the_command_applies_and_then_has_nothing_to_do(url: str) -> None:
    assert run_command(url).stdout.splitlines() == [f"applied {name}" for name in SHIPPED]
    assert "nothing to do" in run_command(url).stdout


def test_a_database_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    ran = run_command(f"postgresql:///nowhere?host={tmp_path}")
    assert ran.returncode == 1
    assert ran.stderr.startswith("migrate failed: the database cannot be reached")
    assert ran.stderr.count("\n") == 1


def test_a_file_without_its_oldest_code_is_refused(folder: Folder, url: str) -> None:
    (folder.path / f"{NEXT:04d}_silent.sql").write_text("select 1")
    with pytest.raises(MigrationRefused, match="oldest code"):
        migrate(url, silent, folder.path)


def test_a_missing_number_is_refused(folder: Folder, url: str, conn: Connection) -> None:
    folder.add("later", "select 1", number=NEXT + 1)
    with pytest.raises(MigrationRefused, match=f"must be number {CURRENT}"):
        migrate(url, silent, folder.path)
    assert not exists(conn, "windlass.jobs")


OUTSIDE = """-- outside a transaction
drop index concurrently if exists windlass.queues_paused;
-- next
create index concurrently queues_paused on windlass.queues (paused_at);
"""


def sleeping(conn: Connection) -> bool:
    row = conn.fetch_one(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
    )
    return row == (1,)


def run_command(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sql.migrate"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
    )
