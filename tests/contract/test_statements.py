"""Every statement fits the schema, and the least-privileged role it is sent by."""

import re
from collections.abc import Iterator

import pytest
from support.database import open_connection

from sql.connection import Connection
from sql.migrate import MIGRATIONS
from sql.statements import Statement, load

QUERIES = MIGRATIONS.parent / "queries"
STATEMENTS = {f"{file.stem}.{name}": text for file in QUERIES.glob("*.sql") for name, text in load(file.stem).items()}
PARAMETER = re.compile(r"%\((\w+)\)s")
PLANNED = re.compile(r"/\* \w+ \*/\s*(with|select|insert|update|delete)\b", re.IGNORECASE)
# What the planner never sees; the tests of their modules run them.
UNPLANNED = {"hints.listen", "migrate.create_schema", "migrate.create_history"}


@pytest.fixture
def connection(unchecked_database_url: str) -> Iterator[Connection]:
    opened = open_connection(unchecked_database_url)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - UNPLANNED))
def test_every_statement_can_be_planned_on_the_migrated_schema(connection: Connection, name: str) -> None:
    statement = STATEMENTS[name]
    connection.fetch_all(f"explain {statement}", **dict.fromkeys(PARAMETER.findall(statement)))


def test_only_the_listed_statements_have_no_plan() -> None:
    assert {name for name, statement in STATEMENTS.items() if not PLANNED.match(statement)} == UNPLANNED


def test_every_statement_is_used() -> None:
    sources = "\n".join(path.read_text() for path in MIGRATIONS.parent.glob("*.py"))
    names = {statement.name for statement in STATEMENTS.values() if isinstance(statement, Statement)}
    assert {name for name in names if f'"{name}"' not in sources} == set()
