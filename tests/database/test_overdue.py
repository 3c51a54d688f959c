"""A peer that keeps the connection and says nothing for ever is given up: no guard of TCP sees it."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.harness.proxy import Proxy, through

from sql.connection import Connection, connect
from sql.errors import Unavailable
from sql.overdue import Watch

STATEMENT_MS, LINK_SECONDS = 500, 1
LONGEST = 1.5


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as made:
        yield made


def opened(url: str) -> Connection:
    return connect(url, application_name="watched", statement_timeout_ms=STATEMENT_MS, link_timeout_s=LINK_SECONDS)


@pytest.fixture
def watched(proxy: Proxy, database_url: str) -> Iterator[Connection]:
    conn = Watch().over(opened(through(proxy, database_url)))
    yield conn
    conn.close()


def seconds_until_given_up(conn: Connection, statement: str = "select 1") -> float:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        conn.execute(statement)
    assert not conn.usable
    return time.monotonic() - began


def test_a_statement_is_waited_for_as_long_as_it_and_its_link_may_take(proxy: Proxy, watched: Connection) -> None:
    assert watched.fetch_one("select 1") == (1,)
    proxy.freeze()
    assert LONGEST - 0.1 < seconds_until_given_up(watched) < LONGEST + 2


def test_so_is_a_commit(proxy: Proxy, watched: Connection) -> None:
    def write() -> None:
        with watched.transaction():
            watched.execute("insert into windlass.queues (name) values ('q')")
            proxy.freeze()

    began = time.monotonic()
    with pytest.raises(Unavailable):
        write()
    assert time.monotonic() - began < LONGEST + 2


def test_nobody_waits_longer_than_the_answer_is_needed(proxy: Proxy, watched: Connection) -> None:
    watched.needed_by = time.monotonic() + 0.3
    proxy.freeze()
    assert seconds_until_given_up(watched) < LONGEST


def test_what_is_idle_owes_nothing(watched: Connection) -> None:
    pause = threading.Event()
    watched.execute("select 1")
    pause.wait(LONGEST + 0.5)
    assert watched.usable
    assert watched.fetch_one("select 1") == (1,)


def test_a_slow_statement_is_ended_by_the_server_and_its_connection_goes_on(watched: Connection) -> None:
    with pytest.raises(Unavailable, match="57014"):
        watched.execute("select pg_sleep(5)")
    assert watched.fetch_one("select 1") == (1,)


def test_a_limit_of_the_urls_own_is_not_cut_short(database_url: str) -> None:
    joint = "&" if "?" in database_url else "?"
    conn = Watch().over(opened(f"{database_url}{joint}options=-c%20statement_timeout%3D60000"))
    assert conn.fetch_one("select 1 from pg_sleep(%(seconds)s)", seconds=LONGEST + 0.7) == (1,)
    conn.close()


def test_the_watch_takes_no_signal_from_the_main_thread(watched: Connection) -> None:
    assert watched.usable
    threads = [thread for thread in threading.enumerate() if thread.name == "database watch"]
    assert threads
    for thread in threads:
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGQUIT):
            assert blocked >> (number - 1) & 1
