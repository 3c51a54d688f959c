"""Fixtures around real pools: one of a test's own, and one that the tests of a module share.

A test that only looks at what becomes of its own jobs shares; one that signals, counts processes or needs settings of
its own starts its own.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sql import checks
from sql.connection import Connection
from support.database import Databases, open_connection
from support.effects import Effects
from support.pool import Pool, start_pools
from support.tables import running

StartPool = Callable[..., Pool]


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    """What the handlers of this test do."""
    return Effects(tmp_path / "effects")


@pytest.fixture
def start_pool(database_url: str, tmp_path: Path, effects: Effects) -> Iterator[StartPool]:
    """Starts pools on the test's database, and ends them with the test."""
    start, end = start_pools(database_url, tmp_path, effects)
    yield start
    end()


@pytest.fixture(scope="module")
def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Shared"]:
    """A pool of two workers for all tests of the module that ask for it."""
    folder = tmp_path_factory.mktemp("shared")
    with databases.migrated() as url:
        effects = Effects(folder / "effects")
        start, end = start_pools(url, folder, effects)
        connection = open_connection(databases.own(url))
        try:
            yield Shared(start().ready(), connection, effects)
            assert not checks.states(connection)
            assert running(connection) == 0
        finally:
            connection.close()
            end()


class Shared:
    """The pool, a connection to its database, and what its handlers do."""

    def __init__(self, pool: Pool, connection: Connection, effects: Effects) -> None:
        self.pool, self.connection, self.effects = pool, connection, effects
