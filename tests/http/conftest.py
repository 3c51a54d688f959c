"""The web service for tests: the application in this process, and real gunicorns."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.database import Databases, open_connection
from support.server import reachable_folder
from support.web import Web, running_web
from support.work import count

from app import context, create_app
from app.settings import AppSettings
from sql import checks
from sql.embedded import EmbeddedServer
from sql.migrate import migrate


@pytest.fixture
def make_app(database_url: str) -> Iterator[Callable[..., flask.Flask]]:
    """Makes applications on the test's database; keyword arguments are settings."""
    made: list[flask.Flask] = []

    def make(**settings: Any) -> flask.Flask:
        made.append(create_app(AppSettings(**{"database_url": database_url, **settings})))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            here = context.current()
        here.waiting.end()
        here.counts.end()
        here.hints.stop()
        here.database.close()


@pytest.fixture
def client(make_app: Callable[..., flask.Flask]) -> FlaskClient:
    """A client of the application, without gunicorn between."""
    return make_app().test_client()


@pytest.fixture(scope="module")
def refused(databases: Databases) -> Iterator[FlaskClient]:
    """A client for requests that are all refused: at the end nothing may be stored."""
    with databases.migrated() as url:
        app = create_app(AppSettings(database_url=url))
        yield app.test_client()
        with app.app_context():
            context.current().database.close()
        connection = open_connection(url)
        stored = {table: count(connection, table) for table in ("jobs", "ready", "idempotency_keys")}
        connection.close()
    assert not any(stored.values()), f"a refused request was stored: {stored}"


@pytest.fixture(scope="module")
def shared_web(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One gunicorn for all tests of a module that keep to queues of their own."""
    with databases.migrated() as url:
        folder = tmp_path_factory.mktemp("shared")
        with running_web(folder, url, PROMETHEUS_MULTIPROC_DIR=str(folder / "metrics")) as web:
            yield web
        connection = open_connection(url)
        assert not checks.states(connection)
        connection.close()


@pytest.fixture
def start_web(tmp_path: Path, database_url: str) -> Iterator[Callable[..., Web]]:
    """Starts real gunicorns on the test's database; keyword arguments are environment variables."""
    started: list[Web] = []

    def start(*arguments: str, port: int | None = None, **environ: str) -> Web:
        # Its metrics' folder lies where the test can see it.
        environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"), **environ}
        started.append(Web(tmp_path, database_url, arguments, port, **environ))
        return started[-1].ready()

    yield start
    for web in started:
        web.end()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that only this test uses, with the schema."""
    folder = reachable_folder()
    server = EmbeddedServer(folder / "postgresql", smart_seconds=1)
    migrate(server.start(), log=lambda _: None)
    yield server
    server.stop()
    shutil.rmtree(server.home)
    shutil.rmtree(folder)
