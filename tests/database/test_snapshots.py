"""Who keeps dead rows from being removed is named, whatever it is, and nobody else."""

import re
import threading
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from faults.harness.cluster import Cluster
from support.database import Databases, open_connection
from support.listener import run
from support.server import reachable_folder
from support.waiting import until
from support.work import add, add_many, count

from app import metrics
from sql import checks
from sql.connection import Connection
from sql.rows import SnapshotHolder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that allows prepared transactions."""
    folder = reachable_folder()
    with Cluster(folder / "server", max_prepared_transactions=2) as made:
        yield made.make().start()
    folder.rmdir()


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    databases = Databases(cluster.url)
    with databases.migrated() as url:
        yield url
    databases.close()


@pytest.fixture
def conn(url: str) -> Iterator[Connection]:
    opened = open_connection(url)
    yield opened
    opened.close()


@pytest.fixture
def session(url: str) -> Iterator[Callable[..., psycopg2.extensions.connection]]:
    """Opens sessions of somebody else's, closed at the end."""
    opened = []

    def open_one(where: str = url, name: str = "nightly report") -> psycopg2.extensions.connection:
        opened.append(psycopg2.connect(where, application_name=name))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def hold_snapshot(session: psycopg2.extensions.connection) -> int:
    """It sees the database as it is now, from now on; its number."""
    session.set_session(isolation_level="REPEATABLE READ")
    session.cursor().execute("select 1 from windlass.queues")
    return int(session.info.backend_pid)


def holders(conn: Connection) -> list[SnapshotHolder]:
    """Those of the tests; the server's own and the like come and go."""
    return [holder for holder in checks.snapshot_holders(conn) if holder.application != "windlass tests"]


def kept_by_vacuum(conn: Connection) -> int:
    """How many dead rows of `ready` a vacuum could not remove, as it says itself."""
    raw = conn._raw
    with raw.cursor() as cursor:
        cursor.execute("vacuum (verbose) windlass.ready")
    said = "".join(raw.notices)
    raw.notices.clear()
    return int(re.findall(r"(\d+) are dead but not yet removable", said)[0])


def test_nobody_is_named_while_nobody_holds_anything(conn: Connection, session: Callable[..., object]) -> None:
    session()
    until(lambda: holders(conn) == [])
    assert checks.snapshots(conn, seconds=0.0) == []


def test_a_session_with_a_snapshot_is_named(conn: Connection, session: Callable[..., object]) -> None:
    pid = hold_snapshot(session(name="psql'; drop"))
    (sentence,) = checks.snapshots(conn, seconds=0.0)
    assert sentence == (
        f'session {pid} (application "psql\'; drop", user postgres) has held a snapshot for 0 s: dead rows cannot be'
        " removed; end it, with pg_terminate_backend if need be"
    )
    # An ordinary statement is not worth a word.
    assert checks.snapshots(conn) == []


def test_what_is_named_is_what_keeps_the_dead_rows(conn: Connection, session: Callable[..., object]) -> None:
    held = session()
    add_many(conn, 10)
    pid = hold_snapshot(held)
    conn.execute("delete from windlass.ready")
    assert kept_by_vacuum(conn) == 10
    assert [holder.name for holder in holders(conn)] == [str(pid)]
    held.close()
    until(lambda: holders(conn) == [])
    assert kept_by_vacuum(conn) == 0


def test_a_session_that_wrote_and_did_not_end_is_named(conn: Connection, session: Callable[..., object]) -> None:
    writer = session(name="writer")
    writer.cursor().execute("insert into windlass.queues (name) values ('q')")
    assert [(holder.what, holder.application) for holder in holders(conn)] == [("session", "writer")]


def test_the_oldest_is_named_first(conn: Connection, session: Callable[..., object]) -> None:
    pids = []
    for number in range(3):
        pids.append(str(hold_snapshot(session(name=f"report {number}"))))
        add(conn)
    found = holders(conn)
    assert [holder.name for holder in found] == pids
    assert found[0].transactions > found[2].transactions


def test_sessions_of_other_databases_hold_nothing_up_here(
    conn: Connection, session: Callable[..., object], cluster: Cluster
) -> None:
    other = session(where=cluster.url)
    other.set_session(isolation_level="REPEATABLE READ")
    other.cursor().execute("select 1 from pg_class")
    assert holders(conn) == []


def test_a_vacuum_holds_nobody_up(conn: Connection, url: str) -> None:
    add_many(conn, 5000)
    conn.execute("delete from windlass.ready")
    sweeper = psycopg2.connect(url, application_name="sweeper")
    sweeper.autocommit = True
    sweeper.cursor().execute("set vacuum_cost_delay = 100")
    sweeper.cursor().execute("set vacuum_cost_limit = 1")

    def sweep() -> None:
        with pytest.raises(psycopg2.errors.QueryCanceled):
            sweeper.cursor().execute("vacuum windlass.ready")

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        until(lambda: conn.fetch_one("select count(*) from pg_stat_progress_vacuum") == (1,), 10, "it vacuums")
        assert holders(conn) == []
    finally:
        sweeper.cancel()
        thread.join(10)
        sweeper.close()


def test_a_prepared_transaction_is_named(conn: Connection, session: Callable[..., object]) -> None:
    forgotten = session()
    forgotten.tpc_begin("two phases")
    forgotten.cursor().execute("insert into windlass.queues (name) values ('q')")
    forgotten.tpc_prepare()
    forgotten.close()
    try:
        (sentence,) = checks.snapshots(conn, seconds=0.0)
        assert sentence == (
            "prepared transaction 'two phases' has held a snapshot for 0 s: dead rows cannot be removed; commit it or"
            " roll it back"
        )
    finally:
        conn.execute("rollback prepared 'two phases'")
    assert count(conn, "queues") == 0


def test_who_may_not_see_since_when_is_told_for_how_many_transactions(
    conn: Connection, url: str, session: Callable[..., object]
) -> None:
    pid = hold_snapshot(session())
    add(conn)
    conn.execute("drop role if exists plain")
    conn.execute("create role plain login")
    plain = open_connection(url.replace("postgres@", "plain@"))
    try:
        (holder,) = holders(plain)
        assert (holder.name, holder.application, holder.owner) == (str(pid), "nightly report", "postgres")
        assert holder.seconds is None
        (sentence,) = checks.snapshots(plain, seconds=0.0, transactions=1)
        assert f"has held a snapshot for {holder.transactions} transactions: " in sentence
        assert checks.snapshots(plain, seconds=0.0) == []
        conn.execute("grant pg_read_all_stats to plain")
        assert holders(plain)[0].seconds is not None
    finally:
        plain.close()
        conn.execute("drop role plain")


def test_a_standbys_query_is_named_and_so_is_the_slot_it_leaves_behind() -> None:
    folder = reachable_folder()
    feedback = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1"}
    with Cluster(folder / "primary") as primary, Cluster(folder / "standby", **feedback) as standby:
        primary.make().start().migrated()
        primary.ask("select pg_create_physical_replication_slot('forgotten')")
        conn = open_connection(primary.url)

        def query_on_the_standby(**settings: str) -> psycopg2.extensions.connection:
            standby.start(**settings)
            reader = psycopg2.connect(standby.url)
            hold_snapshot(reader)
            add(conn)
            return reader

        def named() -> list[str]:
            return [sentence.partition(" has")[0] for sentence in checks.snapshots(conn, seconds=60, transactions=1)]

        standby.copy_of(primary)
        reader = query_on_the_standby()
        (walsender,) = until(named, 10, "the standby's query is named")
        assert walsender.startswith("standby 'standby' (session ")
        reader.close()
        standby.stop()
        until(lambda: named() == [])
        reader = query_on_the_standby(primary_slot_name="forgotten")
        until(lambda: named() == ["replication slot 'forgotten'"], 10, "the slot is named")
        reader.close()
        standby.kill()
        assert named() == ["replication slot 'forgotten'"]
        conn.close()
    folder.rmdir()


def test_windlass_check_and_the_metrics_name_the_oldest(
    url: str, session: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks.snapshots.__kwdefaults__, "seconds", 0.0)
    monkeypatch.setattr(metrics, "_HELD_SECONDS", 0.0)
    monkeypatch.setattr(metrics, "_HELD_TRANSACTIONS", 1)
    pid = hold_snapshot(session())
    checked = run("check", DATABASE_URL=url)
    assert checked.exit_code == 1
    assert f"session {pid} (application 'nightly report', user postgres) has held a snapshot for" in checked.output
    conn = open_connection(url)
    add(conn)
    found = {
        (sample.name, sample.labels.get("application"), sample.value >= 0)
        for family in metrics._held(checks.snapshot_holders(conn))
        for sample in family.samples
    }
    conn.close()
    assert found == {
        ("oldest_snapshot_seconds", "nightly report", True),
        ("oldest_snapshot_transactions", "nightly report", True),
    }
