"""A connection: our errors for the driver's, transactions, limits, and when it is no longer of use."""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from support.database import open_connection
from support.waiting import until
from support.work import Meanwhile, add, count

from sql import errors
from sql.connection import Connection, connect
from sql.errors import Rejected, SchemaMissing, StorageError, Unavailable

Opener = Callable[[], Connection]

OURS: dict[str, type[StorageError]] = {
    "select 1 / 0": Rejected,
    "select 'x'::int": Rejected,
    "select 99999999999999999999::int": Rejected,
    r"""select '"\u0000"'::jsonb""": Rejected,
    "insert into windlass.queues (name) values (null)": Rejected,
    "select pg_sleep(60)": Unavailable,
    "do $$ begin raise disk_full; end $$": Unavailable,
    "do $$ begin raise io_error; end $$": Unavailable,
    "select * from windlass.nothing": SchemaMissing,
    "select nothing from windlass.jobs": SchemaMissing,
    "select * from nowhere.jobs": SchemaMissing,
    "select windlass.nothing()": SchemaMissing,
    "selec": StorageError,
}


def backend(conn: Connection) -> int:
    row = conn.fetch_one("select pg_backend_pid()")
    assert row is not None
    return int(row[0])


def end_session(admin: Connection, pid: int) -> None:
    """The server ends that session, and it is over when this returns."""
    admin.execute("select pg_terminate_backend(%(pid)s)", pid=pid)
    gone = "select count(*) from pg_stat_activity where pid = %(pid)s"
    until(lambda: admin.fetch_one(gone, pid=pid) == (0,), message="the session is over")


def test_each_error_of_the_driver_becomes_ours(database_url: str, subtests: pytest.Subtests) -> None:
    conn = connect(database_url, application_name="windlass tests", statement_timeout_ms=200)
    for statement, ours in OURS.items():
        with subtests.test(statement):
            with pytest.raises(StorageError) as raised:
                conn.fetch_all(statement)
            assert type(raised.value) is ours
            assert isinstance(raised.value.__cause__, psycopg2.Error)
            assert conn.usable
    conn.close()


def test_no_statement_is_compiled(database_url: str) -> None:
    conn = connect(database_url, application_name="windlass tests")
    assert conn.fetch_one("show jit") == ("off",)
    conn.close()


def test_every_error_is_a_storage_error_and_only_an_outage_invites_to_try_again() -> None:
    ours = [thing for thing in vars(errors).values() if isinstance(thing, type)]
    assert all(issubclass(error, StorageError) for error in ours)
    assert {error for error in ours if issubclass(error, Unavailable)} == {
        Unavailable,
        errors.UnknownCommit,
        SchemaMissing,
    }


def test_a_value_the_driver_cannot_send_is_rejected_or_our_own_mistake(connection: Connection) -> None:
    for text in ("a\0b", "\ud800", "\udcff"):
        with pytest.raises(Rejected):
            connection.fetch_one("select %(text)s", text=text)
    with pytest.raises(StorageError) as raised:
        connection.fetch_one("select %(thing)s", thing=object())
    assert type(raised.value) is StorageError
    assert connection.usable


def test_each_statement_is_a_transaction_of_its_own(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    add(connection)
    assert count(other, "jobs") == 1
    with pytest.raises(Rejected):
        connection.execute("select 1 / 0")
    add(connection)
    assert count(other, "jobs") == 2


def test_a_transaction_commits_together(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    with connection.transaction():
        add(connection)
        add(connection)
        assert count(other, "jobs") == 0
    assert count(other, "jobs") == 2


@pytest.mark.parametrize("error", [Rejected, ValueError, KeyboardInterrupt])
def test_a_transaction_rolls_back_on_any_exception(connection: Connection, error: type[BaseException]) -> None:
    def fail() -> None:
        with connection.transaction():
            add(connection)
            if error is Rejected:
                connection.execute("select 1 / 0")
            raise error

    with pytest.raises(error):
        fail()
    assert connection.usable
    assert count(connection, "jobs") == 0
    add(connection)
    assert count(connection, "jobs") == 1


def test_a_commit_that_fails_is_an_error_of_the_block(connection: Connection) -> None:
    connection.execute("create temp table once (n int primary key deferrable initially deferred)")

    def insert_twice() -> None:
        with connection.transaction():
            connection.execute("insert into once values (1), (1)")

    with pytest.raises(Rejected):
        insert_twice()
    assert not connection.usable


def test_a_connection_hung_up_while_idle_is_seen_without_asking(connection: Connection, open_another: Opener) -> None:
    idle = open_another()
    assert idle.usable
    end_session(connection, backend(idle))
    until(lambda: not idle.usable, message="the end is seen")
    with pytest.raises(Unavailable):
        idle.fetch_one("select 1")


def test_a_connection_lost_under_a_statement_is_unavailable_and_no_longer_usable(
    connection: Connection, open_another: Opener
) -> None:
    lost = open_another()
    pid = backend(lost)
    asking = Meanwhile(lost, lambda: lost.fetch_one("select pg_sleep(60)"))
    until(lambda: asking.waits(connection, "Timeout"), message="it sleeps")
    end_session(connection, pid)
    with pytest.raises(Unavailable):
        asking.answer()
    assert not lost.usable


def test_a_connection_lost_inside_a_transaction_is_unavailable(connection: Connection, open_another: Opener) -> None:
    lost = open_another()

    def lose_it() -> None:
        with lost.transaction():
            add(lost)
            end_session(connection, backend(lost))

    with pytest.raises(Unavailable):
        lose_it()
    assert not lost.usable
    assert count(connection, "jobs") == 0


def test_a_closed_connection_is_unavailable(open_another: Opener) -> None:
    closed = open_another()
    closed.close()
    closed.close()
    assert not closed.usable
    for use in (lambda: closed.fetch_one("select 1"), closed.notifications, lambda: closed.transaction().__enter__()):
        with pytest.raises(Unavailable):
            use()


def test_a_statement_over_its_time_is_ended_and_the_connection_goes_on(database_url: str) -> None:
    conn = connect(database_url, application_name="windlass tests", statement_timeout_ms=100)
    with pytest.raises(Unavailable, match="57014"):
        conn.execute("select pg_sleep(60)")
    assert conn.usable
    assert conn.fetch_one("select 1") == (1,)
    conn.close()


def test_a_lock_is_not_waited_for_longer_than_a_statement_may_take(connection: Connection, database_url: str) -> None:
    conn = connect(database_url, application_name="windlass tests", statement_timeout_ms=100)
    with connection.transaction():
        connection.execute("lock table windlass.jobs in access exclusive mode")
        with pytest.raises(Unavailable):
            count(conn, "jobs")
    assert count(conn, "jobs") == 0
    conn.close()


def test_an_idle_transaction_is_ended_by_the_server(connection: Connection, database_url: str) -> None:
    conn = connect(database_url, application_name="windlass idler", statement_timeout_ms=25)
    gone = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and application_name = 'windlass idler'"
    )

    def idle() -> None:
        with conn.transaction():
            conn.execute("select 1")
            until(lambda: connection.fetch_one(gone) == (0,), message="the session is over")
            conn.execute("select 1")

    with pytest.raises(Unavailable):
        idle()
    assert not conn.usable


def test_a_read_only_server_is_unavailable_and_asks_for_another_connection(connection: Connection) -> None:
    # A primary that became a standby answers so; a new connection may find the new primary.
    connection.execute("set default_transaction_read_only = on")
    with pytest.raises(Unavailable):
        add(connection)
    assert not connection.usable


def test_a_connection_says_who_it_is_and_which_server_it_speaks_to(connection: Connection) -> None:
    row = connection.fetch_one("show application_name")
    assert row == ("windlass tests",)
    version = connection.fetch_one("show server_version_num")
    assert version == (str(connection.server_version),)


def test_what_the_url_says_itself_wins(database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"
    url = f"{database_url}{separator}application_name=chosen&keepalives_idle=77&options=-c%20statement_timeout%3D1234ms"
    conn = connect(url, application_name="windlass tests")
    assert conn.fetch_one("show application_name") == ("chosen",)
    assert conn.fetch_one("show statement_timeout") == ("1234ms",)
    assert conn.fetch_one("show lock_timeout") == ("5s",)
    conn.close()


def test_the_old_scheme_is_understood(database_url: str) -> None:
    conn = open_connection(database_url.replace("postgresql://", "postgres://"))
    assert conn.fetch_one("select 1") == (1,)
    conn.close()


def test_a_server_that_cannot_be_reached_is_unavailable(tmp_path: Any) -> None:
    for url in ("postgresql://127.0.0.1:1/nowhere", f"postgresql:///nowhere?host={tmp_path}"):
        with pytest.raises(Unavailable):
            open_connection(url)


def test_a_database_that_does_not_exist_is_unavailable(database_url: str) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        open_connection(database_url.replace("windlass_test_", "windlass_absent_"))


def test_an_address_that_cannot_be_read_is_said_so_without_repeating_it() -> None:
    for url in ("postgre://u:hunter2@h/db", "postgresql://u:hu%zznter2@h/db", "postgresql://u:hunter2@[::1/db"):
        with pytest.raises(StorageError) as raised:
            open_connection(url)
        assert not isinstance(raised.value, Unavailable)
        assert "nter2" not in f"{raised.value}{raised.value.__cause__}"
