"""The server, the databases and the programs the tests run with, and what pytest says of them at the end."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
from support import least_privilege, pgbouncer, programs
from support.database import Databases, open_connection
from support.figures import publish
from support.server import Server, embedded, find_server, through_pgbouncer

from sql import checks
from sql.connection import Connection
from workerpool.kinds import registry

__all__ = ["publish"]

_SERVER = pytest.StashKey[Server]()
_SERVER_LINE = pytest.StashKey[str]()
_LEFT_OUT = pytest.StashKey[dict[str, int]]()


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> str:
    """The URL of the server of this run; whoever uses it may create databases there."""
    shared = getattr(pytestconfig, "workerinput", {}).get("server_url")
    return shared or _server(pytestconfig).url


@pytest.fixture(scope="session")
def databases(server_url: str, pytestconfig: pytest.Config) -> Iterator[Databases]:
    """Makes databases on the server of this run."""
    with contextlib.ExitStack() as pooler:
        made = Databases(server_url)
        if through_pgbouncer():
            bouncer = pooler.enter_context(pgbouncer.PgBouncer(server_url, all_databases=True))
            made = Databases(server_url, bouncer.url)
        if least_privilege.asked_for():
            as_role = partial(least_privilege.as_role, server_url)
            made = Databases(server_url, as_role(least_privilege.SERVICE), as_role(least_privilege.OWNER))
        if _SERVER in pytestconfig.stash:
            pytestconfig.stash[_SERVER_LINE] = _line(made, pytestconfig.stash[_SERVER])
        yield made
        made.close()


@pytest.fixture
def own_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test declares is forgotten after it."""
    registry.load()  # A module declares its kinds only when it is first imported, which must not happen inside.
    monkeypatch.setattr(registry, "_declared", dict(registry._declared))


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """A fresh database without a schema."""
    with databases.empty() as url:
        yield url


@pytest.fixture
def unchecked_database_url(databases: Databases) -> Iterator[str]:
    """A fresh database with the schema, for tests that break it on purpose."""
    with databases.migrated() as url:
        yield url


@pytest.fixture
def database_url(unchecked_database_url: str) -> Iterator[str]:
    """A fresh database with the schema. When the test is over every job in it must be in exactly one state."""
    yield unchecked_database_url
    _check_states(unchecked_database_url)


@pytest.fixture
def owner(database_url: str, databases: Databases) -> Iterator[Connection]:
    """A connection to the test's database that may do anything there."""
    connection = open_connection(databases.own(database_url))
    yield connection
    connection.close()


@pytest.fixture
def own_url(database_url: str, databases: Databases, request: pytest.FixtureRequest) -> str:
    """The test's database, for what it does there itself; in `tests/database` that is what is tested."""
    return database_url if request.path.parent.name == "database" else databases.own(database_url)


@pytest.fixture
def open_another(own_url: str) -> Iterator[Callable[[], Connection]]:
    """Opens connections to the test's database, closed at its end."""
    opened: list[Connection] = []

    def open_one() -> Connection:
        opened.append(open_connection(own_url))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(open_another: Callable[[], Connection]) -> Connection:
    """A connection to the test's database."""
    return open_another()


@pytest.fixture(scope="session")
def databases15() -> Iterator[Databases]:
    """Makes databases on a PostgreSQL 15, the oldest we run on."""
    server = embedded(str(programs.path_of("needs_postgres15").parent))
    made = Databases(server.url)
    yield made
    made.close()
    server.close()


@pytest.fixture
def postgres15_url(databases15: Databases) -> Iterator[str]:
    """As `database_url`, on PostgreSQL 15."""
    with databases15.migrated() as url:
        yield url
        _check_states(url)


def _line(databases: Databases, server: Server) -> str:
    way = ", through PgBouncer in transaction mode" if through_pgbouncer() else ""
    return f"PostgreSQL {databases.version} ({server.found}{way})"


def _check_states(url: str) -> None:
    connection = open_connection(url)
    try:
        problems = checks.states(connection)
    finally:
        connection.close()
    assert not problems, "the test left jobs in no or several states"


def _split(items: list[pytest.Item], left_out: Iterable[str]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    cannot = [item for item in items if item.nodeid.removeprefix("tests/").startswith(tuple(left_out))]
    return [item for item in items if item not in cannot], cannot


def _server(config: pytest.Config) -> Server:
    if _SERVER not in config.stash:
        config.stash[_SERVER] = find_server()
    return config.stash[_SERVER]


def pytest_configure() -> None:
    """A shell starts what it puts into the background deaf to INT, and the programs under test would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests whose program is absent are left out, or an error where all must run."""
    items[:], left_out = programs.split_by_presence(items)
    if through_pgbouncer():
        items[:], left_out["a pooler"] = _split(items, pgbouncer.LEFT_OUT)
    if least_privilege.asked_for():
        items[:], left_out["least privilege"] = _split(items, least_privilege.LEFT_OUT)
    absent = [programs.reason(marker) for marker in left_out if marker in programs.BY_MARKER]
    if absent and os.environ.get("WINDLASS_TEST_ALL"):
        raise pytest.UsageError(f"WINDLASS_TEST_ALL is set, and {', '.join(absent)}")
    config.hook.pytest_deselected(items=[item for group in left_out.values() for item in group])
    counts = {marker: len(group) for marker, group in left_out.items()}
    config.stash[_LEFT_OUT] = counts
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = counts


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Parallel workers share one server, which the controlling process owns."""
    server = _server(node.config)
    node.workerinput["server_url"] = server.url
    if _SERVER_LINE not in node.config.stash:
        databases = Databases(server.url)
        node.config.stash[_SERVER_LINE] = _line(databases, server)
        databases.close()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All workers left out the same tests; the controlling process collects none itself."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_unconfigure(config: pytest.Config) -> None:
    """The server goes last."""
    if _SERVER in config.stash:
        config.stash[_SERVER].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for the server, one for what was left out."""
    if _SERVER_LINE in config.stash:
        terminalreporter.write_line(f"ran on {config.stash[_SERVER_LINE]}")
    left_out = config.stash.get(_LEFT_OUT, {})
    if left_out:
        reasons = ", ".join(f"{count} ({programs.reason(marker)})" for marker, count in left_out.items())
        advice = "; .ci/run installs the programs and leaves out none" if left_out.keys() & programs.BY_MARKER else ""
        terminalreporter.write_line(f"left out: {reasons}{advice}")
