"""The API's tokens: made and revoked by `windlass token`, looked up by the web processes. Only digests come in here."""

from collections.abc import Sequence

from sql import arrays
from sql.connection import Connection
from sql.rows import Token, TokenFound
from sql.statements import load

_SQL = load("tokens")


def add(conn: Connection, name: str, scopes: Sequence[str], digest: bytes, days: int | None = None) -> int:
    """Stores a token by its SHA-256, good for `days` or for ever, and answers its id. Raises Rejected."""
    row = conn.fetch_one(_SQL["add_token"], name=name, scopes=arrays.plain(scopes), digest=digest, days=days)
    assert row is not None
    return int(row[0])


def find(conn: Connection, digest: bytes) -> TokenFound | None:
    """The token of this digest, be it live or not; None when there never was one."""
    row = conn.fetch_one(_SQL["token_of"], digest=digest)
    return TokenFound(*row) if row else None


def note_use(conn: Connection, token_id: int) -> None:
    """Notes that it was used, unless that was done less than a minute ago."""
    conn.execute(_SQL["note_use"], id=token_id)


def every(conn: Connection) -> list[Token]:
    """All of them, the oldest first."""
    return [Token(*row) for row in conn.fetch_all(_SQL["all_tokens"])]


def revoke(conn: Connection, token_id: int) -> bool:
    """From now on it lets nobody in. False when it was revoked before, or never was."""
    return conn.fetch_one(_SQL["revoke_token"], id=token_id) is not None


def any_live(conn: Connection) -> bool:
    """Whether anybody could be let in by one."""
    return conn.fetch_one(_SQL["live_tokens"]) == (True,)
