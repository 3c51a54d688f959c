"""The harness's proxy does the harm it says, at the message it says, and none otherwise."""

import time
from collections.abc import Iterator

import pytest
from faults.harness.proxy import Cut, Delay, Proxy, Slow, Swallow, through
from faults.harness.wire import CLIENT, SERVER
from support.waiting import until

from sql.connection import Connection, connect
from sql.errors import Unavailable

# What a server says to `select 1`.
ANSWER = [(CLIENT, "Q"), (SERVER, "T"), (SERVER, "D"), (SERVER, "C"), (SERVER, "Z")]
INSERT = "insert into windlass.queues (name) values ('q')"


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as made:
        yield made


@pytest.fixture
def conn(proxy: Proxy, database_url: str) -> Iterator[Connection]:
    opened = connect(through(proxy, database_url), application_name="through")
    yield opened
    opened.close()


def stored(connection: Connection) -> int:
    return len(connection.fetch_all("select from windlass.queues"))


def test_without_rules_everything_passes_and_is_seen(proxy: Proxy, conn: Connection) -> None:
    watch = proxy.watch()
    assert conn.fetch_one("select 1") == (1,)
    assert watch.seen == ANSWER
    assert conn.fetch_one("select repeat('x', 3000000)") == ("x" * 3_000_000,)


def test_a_connection_begins_with_a_question_for_encryption_that_is_refused(proxy: Proxy, database_url: str) -> None:
    watch = proxy.watch()
    connect(through(proxy, database_url, sslmode="prefer"), application_name="named").close()
    assert watch.seen[:4] == [(CLIENT, "ssl"), (SERVER, "N"), (CLIENT, "start-up"), (SERVER, "R")]
    until(lambda: watch.seen[-1] == (CLIENT, "X"), message="the client says goodbye")
    until(lambda: not proxy.links, message="the proxy keeps no connection whose client has gone")


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_cut_before_a_statement_nothing_of_it_is_done_and_after_it_all_may_be(
    proxy: Proxy, conn: Connection, connection: Connection, reset: bool, database_url: str
) -> None:
    watch = proxy.watch(Cut(CLIENT, 1, after=False, reset=reset))
    with pytest.raises(Unavailable):
        conn.execute(INSERT)
    assert watch.fired.is_set()
    assert len(watch.cut) == 1
    assert stored(connection) == 0
    again = connect(through(proxy, database_url), application_name="through")
    proxy.watch(Cut(CLIENT, 1, after=True, reset=reset))
    with pytest.raises(Unavailable):
        again.execute(INSERT)
    until(lambda: stored(connection) == 1, message="the server carries out what it was sent")


@pytest.mark.parametrize("message", range(1, 5))
def test_cut_in_an_answer_a_statement_is_done_and_its_client_does_not_know(
    proxy: Proxy, conn: Connection, connection: Connection, message: int
) -> None:
    watch = proxy.watch(Cut(SERVER, message))
    with pytest.raises(Unavailable):
        conn.fetch_one(f"{INSERT} returning 1")
    assert watch.seen == ANSWER[: message + 1]
    assert stored(connection) == 1


def test_a_rule_concerns_only_the_connections_it_was_made_for(
    proxy: Proxy, conn: Connection, database_url: str
) -> None:
    proxy.watch(Cut(CLIENT, 1), concerns=lambda name: name == "victim")
    assert conn.fetch_one("select 1") == (1,)
    with pytest.raises(Unavailable):
        connect(through(proxy, database_url), application_name="victim")
    assert conn.fetch_one("select 1") == (1,)


def test_what_is_swallowed_is_never_answered_and_nothing_is_closed(
    proxy: Proxy, conn: Connection, database_url: str
) -> None:
    proxy.watch(Swallow(SERVER, 1))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        connect(through(proxy, database_url), application_name="other", connect_timeout_s=2)
    assert time.monotonic() - began > 1.5
    assert conn.fetch_one("select 1") == (1,), "it was another connection's message"
    assert proxy.freeze() == 2


@pytest.mark.parametrize(
    ("rule", "seconds"), [(Delay(SERVER, 1, 0.2), 0.2), (Delay(CLIENT, 1, 0.2), 0.2), (Slow(SERVER, 1, 300), 0.15)]
)
def test_what_is_delayed_or_slow_comes_whole_and_late(
    proxy: Proxy, conn: Connection, rule: Delay | Slow, seconds: float
) -> None:
    proxy.watch(rule)
    times = []
    for _ in range(2):
        began = time.monotonic()
        assert conn.fetch_one("select 1") == (1,)
        times.append(time.monotonic() - began)
    assert min(times) >= seconds
    proxy.watch()
    assert conn.fetch_one("select 1") == (1,)


def test_the_end_of_the_server_reaches_the_client(conn: Connection, connection: Connection) -> None:
    backend = conn.fetch_one("select pg_backend_pid()")
    assert backend is not None
    connection.execute("select pg_terminate_backend(%(pid)s)", pid=backend[0])
    until(lambda: not conn.usable, message="the client hears of it")


def test_a_closed_proxy_leaves_nothing_behind(database_url: str) -> None:
    proxy = Proxy(database_url)
    conn = connect(through(proxy, database_url), application_name="through")
    assert proxy.freeze() == 1
    proxy.close()
    with pytest.raises(Unavailable):
        conn.execute("select 1")
    with pytest.raises(Unavailable):
        connect(through(proxy, database_url), application_name="late")
