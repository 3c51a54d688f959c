"""The table of tokens: what it takes, what it says of one, and that revoking is for good."""

import os

import pytest
from support.token_holders import ends_in, id_of, made, revoke
from support.work import past

from app.tokens import Scope, digest_of, new_token
from sql import tokens
from sql.connection import Connection
from sql.errors import Rejected


@pytest.fixture
def connection(owner: Connection) -> Connection:
    """Tokens are made by whoever owns the tables."""
    return owner


def test_a_token_is_found_by_its_digest_with_its_scopes(connection: Connection) -> None:
    digest = os.urandom(32)
    token_id = tokens.add(connection, "ci", ["enqueue", "read"], digest)
    assert tokens.find(connection, digest) == (token_id, ["enqueue", "read"], False, None, True)
    assert tokens.find(connection, os.urandom(32)) is None


def test_every_scope_of_the_service_can_be_stored_and_no_other(connection: Connection) -> None:
    for scope in Scope:
        made(connection, scope)
    made(connection, *Scope)
    for scopes in (["everything"], [], ["read", "write"], ["None"]):
        with pytest.raises(Rejected):
            tokens.add(connection, "ci", scopes, os.urandom(32))


@pytest.mark.parametrize("name", ["a", "ci", "build-bot.2:x_Y", "a" * 128])
def test_a_name_begins_with_a_letter(connection: Connection, name: str) -> None:
    assert tokens.add(connection, name, ["read"], os.urandom(32))


@pytest.mark.parametrize("name", ["", "1", "12a", "-x", "two words", "a" * 129, "a\nb", "\u00e9", "a;b"])
def test_what_could_be_taken_for_an_id_or_cannot_be_shown_is_no_name(connection: Connection, name: str) -> None:
    with pytest.raises(Rejected) as refused:
        tokens.add(connection, name, ["read"], os.urandom(32))
    assert refused.value.constraint == "name_shape"


def test_only_a_digest_is_taken_for_one_and_only_once(connection: Connection) -> None:
    for digest in (b"", b"x" * 31, new_token().encode()):
        with pytest.raises(Rejected):
            tokens.add(connection, "ci", ["read"], digest)
    digest = os.urandom(32)
    tokens.add(connection, "ci", ["read"], digest)
    with pytest.raises(Rejected):
        tokens.add(connection, "other", ["read"], digest)


def test_the_end_is_counted_in_days_from_now(connection: Connection) -> None:
    digest = os.urandom(32)
    tokens.add(connection, "ci", ["read"], digest, 2)
    found = tokens.find(connection, digest)
    assert found is not None
    assert found.seconds_left == pytest.approx(2 * 86_400, abs=60)
    past(connection, "tokens", "expires_at", 3 * 86_400)
    found = tokens.find(connection, digest)
    assert found is not None
    assert found.seconds_left == pytest.approx(-86_400, abs=60)


def test_a_revoked_token_stays_that_and_is_revoked_once(connection: Connection) -> None:
    text = made(connection, "read")
    token_id = id_of(connection, text)
    assert tokens.revoke(connection, token_id)
    (before,) = tokens.every(connection)
    assert not tokens.revoke(connection, token_id)
    assert not tokens.revoke(connection, token_id + 1)
    found = tokens.find(connection, digest_of(text))
    assert found is not None
    assert found.revoked
    assert tokens.every(connection) == [before]
    assert before.revoked_at is not None


def test_the_list_says_the_state_of_each_and_nothing_of_its_digest(connection: Connection) -> None:
    live, expired, revoked = (made(connection, "work", name=name) for name in ("a", "b", "c"))
    ends_in(connection, expired, -1)
    revoke(connection, revoked)
    assert [(each.name, each.state) for each in tokens.every(connection)] == [
        ("a", "live"), ("b", "expired"), ("c", "revoked"),
    ]  # fmt: skip
    shown = repr(tokens.every(connection))
    for text in (live, expired, revoked):
        assert digest_of(text).hex() not in shown


def test_any_live_one_is_told_of(connection: Connection) -> None:
    assert not tokens.any_live(connection)
    one, other = made(connection, "read"), made(connection, "read")
    ends_in(connection, one, -1)
    assert tokens.any_live(connection)
    revoke(connection, other)
    assert not tokens.any_live(connection)


def test_a_use_is_noted_once_a_minute(connection: Connection) -> None:
    token_id = id_of(connection, text := made(connection, "read"))

    def state() -> tuple[str | None, bool]:
        found = tokens.find(connection, digest_of(text))
        assert found is not None
        return tokens.every(connection)[0].last_used_at, found.note_use

    assert state() == (None, True)
    tokens.note_use(connection, token_id)
    first = state()
    assert first[0] is not None
    assert not first[1]
    tokens.note_use(connection, token_id)
    assert state() == first
    past(connection, "tokens", "last_used_at", 61)
    moved, again = state()
    assert again
    tokens.note_use(connection, token_id)
    assert state() != (moved, True)
    assert not state()[1]
