"""A token is shown once, to whoever makes it: it is in no table, no dump and no log."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database import open_connection
from support.service import Surroundings
from support.token_holders import bearer, mistyped
from support.web import running_web

from sql.connection import Connection
from sql.embedded import EmbeddedServer
from sql.embedded.binaries import wheel_bin_dir


@pytest.fixture
def shell(own_server: EmbeddedServer) -> Iterator[Surroundings]:
    """Somebody's shell, and a database that logs every statement."""
    connection = open_connection(own_server.url)
    for name in ("log_statement = 'all'", "log_min_error_statement = 'error'", "log_error_verbosity = 'verbose'"):
        connection.execute(f"alter role current_user set {name}")
    connection.close()
    made = Surroundings(DATABASE_URL=own_server.url)
    yield made
    made.clear()


def everything_in(connection: Connection) -> str:
    """Every row of every table that is not the server's own, as text."""
    tables = connection.fetch_all(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema')"
    )
    rows = [row[0] for (table,) in tables for row in connection.fetch_all(f"select t::text from {table} as t")]  # noqa: S608
    return "\n".join(rows)


def test_a_token_is_nowhere_but_with_its_holder(
    shell: Surroundings, own_server: EmbeddedServer, tmp_path: Path
) -> None:
    made = shell.run("token", "create", "--name", "canary", "--scopes", "enqueue,read")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    spoilt = mistyped(token)
    with running_web(tmp_path, own_server.url, REQUIRE_TOKEN="1", LOG_LEVEL="debug") as web:
        job = web.post_job(bearer(token))
        assert job.status == 201
        assert web.request("GET", f"/jobs/{job.json()['id']}", headers=bearer(token)).status == 200
        assert web.request("POST", "/v1/lease", {}, bearer(token)).status == 403
        said = [web.request("GET", "/jobs", headers=bearer(spoilt)), web.request("POST", "/jobs", {}, bearer(token))]
        assert [answer.status for answer in said] == [401, 422]
        said += [web.request("GET", "/metrics"), web.request("GET", "/api-docs/openapi.json")]
    listed = [shell.run("token", "list"), shell.run("token", "list", "--json"), shell.run("token", "revoke", "canary")]
    connection = open_connection(own_server.url)
    stored = everything_in(connection)
    connection.close()
    dump = subprocess.run(
        [wheel_bin_dir() / "pg_dump", own_server.url], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    logged = own_server.log.read_text()
    # That we look in the right places.
    assert "canary" in stored
    assert "canary" in dump
    assert "insert into windlass.tokens" in logged
    assert "canary" in listed[0].stdout
    places = {
        "the tables": stored,
        "a dump": dump,
        "the server's log": logged,
        "the service's log": web.log(),
        "what the service answers": "".join(answer.data.decode() for answer in said),
        "what the command says later": "".join(done.stdout + done.stderr for done in listed),
        "what the command says for people": made.stderr,
    }
    for place, text in places.items():
        for secret in (token, spoilt, token[3:46], token.encode().hex(), token[3:46].encode().hex()):
            assert secret not in text, place
