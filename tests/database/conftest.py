"""Databases of both ends of the range of versions."""

from collections.abc import Iterator

import pytest
from support.database import open_connection
from support.server import Server, embedded

from sql.connection import Connection


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
