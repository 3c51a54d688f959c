"""`windlass token`: making, listing and revoking, against a database and a real service."""

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from support import listener
from support.token_holders import bearer, ends_in
from support.web import running_web

from app.tokens import is_whole
from sql import tokens
from sql.connection import Connection


class Shell:
    """Somebody's shell with DATABASE_URL set, on a machine where no `windlass up` runs."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._environ = {"DATABASE_URL": database_url, "WINDLASS_DATA": str(folder)}

    def run(self, *arguments: str, **variables: str) -> Result:
        return listener.run(*arguments, **self._environ | variables)


@pytest.fixture
def shell(database_url: str, tmp_path: Path) -> Shell:
    return Shell(database_url, tmp_path / "none")


def create(shell: Shell, name: str, scopes: str, *more: str) -> str:
    done = shell.run("token", "create", "--name", name, "--scopes", scopes, *more)
    assert done.exit_code == 0, done.stderr
    # The token is all there is on standard output: TOKEN=$(windlass token create …)
    token = done.stdout.removesuffix("\n")
    assert is_whole(token)
    assert re.fullmatch(rf"token \d+ of {name}, for [a-z, ]+; it is not shown again:\n", done.stderr)
    return token


def refusal(done: Result, code: int = 1) -> str:
    assert (done.exit_code, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def listed(shell: Shell) -> list[list[str]]:
    done = shell.run("token", "list")
    assert done.exit_code == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_the_first_token_is_made_before_there_is_any_and_opens_the_service(
    shell: Shell, database_url: str, tmp_path: Path
) -> None:
    with running_web(tmp_path, database_url, REQUIRE_TOKEN="1") as web:
        assert web.request("GET", "/v1/admin/queues").status == 401
        admin = create(shell, "operator", "admin")
        assert web.request("GET", "/v1/admin/queues", headers=bearer(admin)).status == 200
        shop = create(shell, "shop", "read,enqueue")
        assert web.post_job(bearer(shop)).status == 201
        # The command sends such a token like the two of the environment.
        assert shell.run("jobs", "list", API_TOKEN=shop, WINDLASS_URL=web.url).stdout.count("\n") == 1
        refused = shell.run("queues", ADMIN_TOKEN=shop, WINDLASS_URL=web.url)
        assert "403 this route asks for the scope admin, which the token lacks" in refusal(refused)


def test_the_list_shows_all_of_each_but_the_token(shell: Shell, connection: Connection) -> None:
    assert listed(shell) == []
    first = create(shell, "ci", "work,enqueue,work")
    second = create(shell, "ci", "admin", "--expires-in-days", "30")
    ends_in(connection, first, -1)
    one, other = listed(shell)
    assert one[1:4] == ["ci", "enqueue,work", "expired"]
    assert other[1:4] == ["ci", "admin", "live"]
    assert (other[4][-1], other[5][-1], other[6]) == ("Z", "Z", "")
    rows = json.loads(shell.run("token", "list", "--json").stdout)
    assert [row["id"] for row in rows] == [int(one[0]), int(other[0])]
    assert rows[0].keys() == set(tokens.every(connection)[0]._fields)
    assert not {first, second} & set(json.dumps(rows).split('"'))


def test_a_token_is_revoked_by_its_name_or_of_two_by_its_id(shell: Shell) -> None:
    def revoke(which: str) -> Result:
        return shell.run("token", "revoke", which)

    for name in ("ci", "ci", "shop"):
        create(shell, name, "read")
    old, new, shop = (row[0] for row in listed(shell))
    assert refusal(revoke("ci")) == f"ci has 2 live tokens, {old}, {new}; say which by its id\n"
    assert revoke(old).stdout == f"token {old} of ci is revoked\n"
    assert revoke("shop").stdout == f"token {shop} of shop is revoked\n"
    assert revoke("ci").stdout == f"token {new} of ci is revoked\n"
    assert [row[3] for row in listed(shell)] == ["revoked"] * 3
    # Once more does no harm, and says so.
    again = revoke(old)
    assert (again.exit_code, again.stdout) == (0, f"token {old} of ci was revoked before\n")
    assert revoke("shop").stdout == f"token {shop} of shop was revoked before\n"
    for unknown in ("nobody", "4711", "-1", "1 or 1=1", "CI"):
        assert f"there is no token {unknown}" in refusal(shell.run("token", "revoke", "--", unknown))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "ci"], "Missing option '--scopes'"),
        (["--scopes", "read"], "Missing option '--name'"),
        (["--name", "ci", "--scopes", ""], "must be some of enqueue, read, work, admin"),
        (["--name", "ci", "--scopes", "read,write"], "must be some of enqueue, read, work, admin"),
        (["--name", "1", "--scopes", "read"], "--name must begin with a letter"),
        (["--name", "two words", "--scopes", "read"], "--name must begin with a letter"),
        (["--name", "ci", "--scopes", "read", "--expires-in-days", "0"], "0 is not in the range"),
        (["--name", "ci", "--scopes", "read", "--expires-in-days", "soon"], "'soon' is not a valid integer range"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_stored(
    shell: Shell, connection: Connection, arguments: list[str], said: str
) -> None:
    assert said in refusal(shell.run("token", "create", *arguments), 2)
    assert tokens.every(connection) == []


def test_what_hinders_it_is_one_line_that_says_what_to_do(shell: Shell, empty_database_url: str) -> None:
    def said(url: str) -> str:
        line = refusal(shell.run("token", "list", DATABASE_URL=url))
        assert line.count("\n") == 1
        return line

    assert said("") == "DATABASE_URL: is not set, and no `windlass up` runs here; give that of the service\n"
    assert "run `windlass migrate`" in said(empty_database_url)
    assert said("postgresql://u:hidden@127.0.0.1:1/d").startswith("token list failed: the database cannot be reached")
    assert "hidden" not in said("postgresql://u:hidden@127.0.0.1:1/d") + said("mysql:hidden")


def test_the_check_tells_of_tokens_that_nobody_is_asked_for(shell: Shell, connection: Connection) -> None:
    def told(**variables: str) -> bool:
        return "REQUIRE_TOKEN: there are tokens" in shell.run("check", **variables).stdout

    assert not told()
    token = create(shell, "ci", "read")
    assert told()
    assert not told(REQUIRE_TOKEN="1")
    assert not told(API_TOKEN="the-clients-token")
    ends_in(connection, token, -1)
    assert not told()
