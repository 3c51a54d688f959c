"""Databases of both ends of the range of versions, and what tests of claims begin with."""

from collections.abc import Iterator

import pytest
from support.database import open_connection
from support.server import Server, embedded
from support.work import register

from sql.connection import Connection
from workerpool import lanes


@pytest.fixture(params=["this server", pytest.param("PostgreSQL 15", marks=pytest.mark.needs_postgres15)])
def any_url(request: pytest.FixtureRequest) -> str:
    """A fresh database, on the server of this run and again on the oldest we run on."""
    url: str = request.getfixturevalue("database_url" if request.param == "this server" else "postgres15_url")
    return url


@pytest.fixture
def any_connection(any_url: str) -> Iterator[Connection]:
    """A connection to it."""
    opened = open_connection(any_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def own_server() -> Iterator[Server]:
    """A server whose settings tests may change; the server of this run may not be ours."""
    server = embedded()
    yield server
    server.close()


@pytest.fixture
def worker(connection: Connection) -> int:
    """A registered worker's identity."""
    return register(connection)


@pytest.fixture
def long_ration(monkeypatch: pytest.MonkeyPatch) -> float:
    """Scans two seconds apart, so that a test can be sure that there was none."""
    monkeypatch.setattr(lanes, "_SCAN_GAP_SECONDS", 2.0)
    return 2.0
