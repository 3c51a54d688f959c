"""`windlass token`: makes, lists and revokes the API's tokens, in the database itself: the first one needs no other."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from app.commands.console import Failure
from app.commands.data_folder import database_url
from app.commands.table import JSON_OPTION, Column, ago, print_rows
from app.tokens import Scope, digest_of, new_token
from sql import tokens
from sql.connection import Connection, connect
from sql.errors import Rejected, StorageError
from sql.migrate import check_supported
from workerpool.kinds.environment import names

_FORBIDDEN = "42501"
_LONGEST_DAYS = 36_500
_LIVE = "live"
_COLUMNS = (
    Column("id", lambda token: token["id"], right=True, whole=True),
    Column("name", lambda token: token["name"]),
    Column("scopes", lambda token: ",".join(token["scopes"])),
    Column("state", lambda token: token["state"], whole=True),
    Column("made", lambda token: token["created_at"], lambda token: f"{ago(token['created_at'])} ago", right=True),
    Column("ends", lambda token: token["expires_at"], lambda token: (token["expires_at"] or "")[:10]),
    Column("used", lambda token: token["last_used_at"], lambda token: _ago(token["last_used_at"]), right=True),
)


class _Scopes(click.ParamType[list[str]]):
    name = "SCOPES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """`value`, a comma list, in the order in which scopes are told."""
        given = set(names(value))
        if not given or given - set(Scope):
            self.fail(f"must be some of {', '.join(Scope)}, separated by commas", param, ctx)
        return [str(scope) for scope in Scope if scope in given]


@click.group(no_args_is_help=True)
def token() -> None:
    """Tokens of the API, each with scopes of its own (DATABASE_URL)."""


@token.command()
@click.option("--name", required=True, help="Whose it is. During a rotation one name has two tokens.")
@click.option("--scopes", type=_Scopes(), required=True, help="What it is good for: enqueue,read,work or admin.")
@click.option("--expires-in-days", type=click.IntRange(1, _LONGEST_DAYS), metavar="DAYS", help="Without it, never.")
def create(name: str, scopes: list[str], expires_in_days: int | None) -> None:
    """Make a token and print it, this once: it is stored nowhere."""
    made = new_token()
    with _database("create") as conn:
        try:
            token_id = tokens.add(conn, name, scopes, digest_of(made), expires_in_days)
        except Rejected as error:
            if error.constraint != "name_shape":
                raise
            raise click.UsageError(
                "--name must begin with a letter and go on with at most 127 of A-Z a-z 0-9 . _ : -"
            ) from error
    # For people; what a script reads is the token alone.
    click.echo(f"token {token_id} of {name}, for {', '.join(scopes)}; it is not shown again:", err=True)
    click.echo(made)


@token.command("list")
@JSON_OPTION
def list_tokens(as_json: bool) -> None:
    """All tokens, the oldest first, those that are over too; never the text of one.

    Off a terminal one a line: id, name, scopes, state, when it was made, when it ends, when it was last used (to the
    minute), separated by tabs.
    """
    with _database("list") as conn:
        rows = [found._asdict() for found in tokens.every(conn)]
    if as_json:
        click.echo(json.dumps(rows))
    else:
        print_rows(_COLUMNS, rows, "no tokens; windlass token create makes one")


@token.command()
@click.argument("name_or_id", metavar="NAME_OR_ID")
def revoke(name_or_id: str) -> None:
    """End a token, by its id or, if only one of that name is live, by its name.

    Within 5 s no process of the service lets anybody in by it.
    """
    with _database("revoke") as conn:
        known = tokens.every(conn)
        meant = [each for each in known if name_or_id in (str(each.id), each.name)]
        live = [each for each in meant if each.state == _LIVE]
        if not meant:
            raise Failure(f"there is no token {name_or_id}; `windlass token list` has them all")
        if len(live) > 1:
            ids = ", ".join(str(each.id) for each in live)
            raise Failure(f"{name_or_id} has {len(live)} live tokens, {ids}; say which by its id")
        (one,) = live or meant[-1:]
        done = tokens.revoke(conn, one.id)
    click.echo(f"token {one.id} of {one.name} {'is revoked' if done else 'was revoked before'}")


@contextmanager
def _database(verb: str) -> Iterator[Connection]:
    """The jobs' database. Whatever goes wrong with it is a Failure that says what to do."""
    url = database_url()
    if url is None:
        raise Failure("DATABASE_URL: is not set, and no `windlass up` runs here; give that of the service")
    try:
        conn = connect(url, application_name="windlass token")
        try:
            check_supported(conn)
            yield conn
        finally:
            conn.close()
    except StorageError as error:
        forbidden = getattr(error.__cause__, "pgcode", None) == _FORBIDDEN
        advice = "; connect as the owner of the tables, as `windlass migrate` does" if forbidden else ""
        raise Failure(f"token {verb} failed: {error}{advice}") from error


def _ago(time: str | None) -> str:
    return f"{ago(time)} ago" if time else ""
