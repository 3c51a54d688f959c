"""Tokens of the table, for tests: made without the command, and in every state there is."""

from typing import Any

from app.tokens import digest_of, new_token
from sql import tokens
from sql.connection import Connection


def made(conn: Connection, *scopes: str, name: str = "tests") -> str:
    """A live token."""
    text = new_token()
    tokens.add(conn, name, scopes, digest_of(text))
    return text


def id_of(conn: Connection, text: str) -> int:
    """The id of a token."""
    found = tokens.find(conn, digest_of(text))
    assert found is not None
    return found.id


def revoke(conn: Connection, text: str) -> None:
    """As `windlass token revoke`."""
    assert tokens.revoke(conn, id_of(conn, text))


def ends_in(conn: Connection, text: str, seconds: float) -> None:
    """Gives a token an end, on the database's clock."""
    statement = "update windlass.tokens set expires_at = now() + %(seconds)s * interval '1 second' where id = %(id)s"
    assert conn.execute(statement, seconds=seconds, id=id_of(conn, text)) == 1


def mistyped(text: str) -> str:
    """With two neighbours of the random part exchanged."""
    at = next(n for n in range(5, 40) if text[n] != text[n + 1])
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def bearer(text: str) -> dict[str, Any]:
    """The header it is sent in."""
    return {"Authorization": f"Bearer {text}"}
