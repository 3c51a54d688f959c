"""`sql/schema.sql` is what the migrations amount to."""

from collections.abc import Iterator

import pytest
from support.database import Databases
from support.server import embedded

from sql.migrate import MIGRATIONS
from sql.schema_dump import dump

COMMITTED = MIGRATIONS.parent / "schema.sql"


@pytest.fixture
def current() -> Iterator[str]:
    """The URL of a database of the wheel's PostgreSQL, whichever server the other tests run on."""
    server = embedded()
    databases = Databases(server.url)
    with databases.migrated() as url:
        yield url
    databases.close()
    server.close()


def test_the_committed_schema_is_that_of_the_migrations(current: str) -> None:
    assert dump(current) == COMMITTED.read_text(), "run: python -m sql.schema_dump > sql/schema.sql"
