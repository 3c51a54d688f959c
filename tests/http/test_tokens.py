"""Tokens of the table: what they cost, how long what is known of one holds, and what a flood of unknown ones does."""

import threading
from collections.abc import Callable, Iterator

import flask
import pytest
from flask.testing import FlaskClient
from support.http import check_error
from support.token_holders import bearer, ends_in, id_of, made, mistyped, revoke
from support.waiting import until

from app import token_table
from app.database import Database
from app.problems import RateLimited, Unauthorized
from app.token_table import UNKNOWN_PER_MINUTE, TokenTable
from app.tokens import digest_of, new_token
from sql import tokens
from sql.connection import Connection
from sql.errors import Unavailable

ADDRESS = b"\xc0\x00\x02\x01"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that this process sends from now on; those of the test itself too."""
    names: list[str] = []
    run = Connection._run

    def noting(connection: Connection, cursor: object, statement: str, params: object) -> None:
        names.append(getattr(statement, "name", statement))
        run(connection, cursor, statement, params)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "_run", noting)
    return names


@pytest.fixture
def guarded(make_app: Callable[..., flask.Flask]) -> FlaskClient:
    return make_app(require_token=True, admin_token="the-admins-token").test_client()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.give_back()
    opened.close()


def status(client: FlaskClient, token: str, path: str = "/jobs", peer: str = "192.0.2.1") -> int:
    return client.get(
        path, headers=bearer(token), environ_overrides={"REMOTE_ADDR": peer}, buffered=True
    ).status_code  # fmt: skip


def test_a_known_token_costs_no_statement(guarded: FlaskClient, connection: Connection, said: list[str]) -> None:
    token = made(connection, "read")
    assert status(guarded, token) == 200
    del said[:]
    assert {status(guarded, token) for _ in range(20)} == {200}
    with_token = list(said)
    del said[:]
    assert {status(guarded, "the-admins-token") for _ in range(20)} == {200}
    assert with_token == said
    assert "token_of" not in said


def test_the_tokens_of_the_environment_cost_none_at_all(guarded: FlaskClient, said: list[str]) -> None:
    assert status(guarded, "the-admins-token", "/v1/nope") == 404
    assert said == []


def test_a_token_is_good_as_soon_as_it_is_made(guarded: FlaskClient, connection: Connection) -> None:
    for _ in range(10):
        assert status(guarded, made(connection, "read")) == 200


@pytest.mark.parametrize("wrong", [mistyped, lambda token: token[:-1], lambda token: f"{token}x", str.swapcase])
def test_what_is_mistyped_is_refused_without_a_question(
    guarded: FlaskClient, connection: Connection, said: list[str], wrong: Callable[[str], str]
) -> None:
    token = made(connection, "read")
    del said[:]
    assert status(guarded, wrong(token)) == 401
    assert said == []


def test_what_is_known_is_asked_again_when_its_time_is_over(
    guarded: FlaskClient, connection: Connection, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_table, "GOOD_SECONDS", 0.0)
    token = made(connection, "read")
    assert {status(guarded, token) for _ in range(3)} == {200}
    assert said.count("token_of") == 3
    revoke(connection, token)
    assert status(guarded, token) == 401


def test_what_is_known_holds_for_its_time_when_the_database_is_away_and_then_nobody_is_called_unknown(
    guarded: FlaskClient, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Database) -> Connection:
        raise Unavailable("the database is away")

    token, path = made(connection, "read"), "/jobs/nope"
    assert status(guarded, token, path) == 404
    monkeypatch.setattr(Database, "connection", away)
    assert status(guarded, token, path) == 404
    for unsure in (made(connection, "read"), new_token()):
        response = guarded.get(path, headers=bearer(unsure))
        check_error(response, "unavailable")
        assert int(response.headers["Retry-After"]) >= 1
    monkeypatch.undo()
    monkeypatch.setattr(token_table, "GOOD_SECONDS", 0.0)
    later = made(connection, "read")
    assert status(guarded, later, path) == 404
    monkeypatch.setattr(Database, "connection", away)
    # What was known is over, and is asked for.
    check_error(guarded.get(path, headers=bearer(later)), "unavailable")
    assert status(guarded, "the-admins-token", path) == 404


def test_an_expired_token_is_not_let_in_by_what_is_remembered(guarded: FlaskClient, connection: Connection) -> None:
    token = made(connection, "read")
    ends_in(connection, token, 1.0)
    assert status(guarded, token) == 200
    expired = "select expires_at <= clock_timestamp() from windlass.tokens"
    until(lambda: connection.fetch_one(expired) == (True,), 3)
    assert status(guarded, token) == 401


def test_a_flood_of_unknown_tokens_causes_a_bounded_number_of_questions(
    guarded: FlaskClient, connection: Connection, said: list[str]
) -> None:
    known, fresh = made(connection, "read"), made(connection, "read")
    assert status(guarded, known) == 200
    del said[:]
    statuses = [status(guarded, new_token()) for _ in range(300)]
    assert statuses == [401] * UNKNOWN_PER_MINUTE + [429] * (300 - UNKNOWN_PER_MINUTE)
    assert said == ["token_of"] * UNKNOWN_PER_MINUTE
    # Whoever is known passes from the same address, and any from another.
    assert status(guarded, known) == 200
    assert status(guarded, "the-admins-token") == 200
    response = guarded.get("/jobs", headers=bearer(fresh), environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    check_error(response, "rate_limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert status(guarded, fresh, peer="192.0.2.2") == 200
    assert status(guarded, fresh) == 200


def test_one_wrong_token_over_and_over_is_one_question(
    guarded: FlaskClient, connection: Connection, said: list[str]
) -> None:
    token = made(connection, "read")
    revoke(connection, token)
    unknown = new_token()
    del said[:]
    assert [status(guarded, each) for _ in range(100) for each in (token, unknown)] == [401] * 200
    assert said.count("token_of") == 2
    # So it takes nothing from those who share its address.
    assert {status(guarded, made(connection, "read")) for _ in range(30)} == {200}


def test_unknown_tokens_push_no_known_one_out_and_no_more_than_some_are_kept(
    database: Database, connection: Connection, said: list[str]
) -> None:
    table = TokenTable(database, limit=1000, most=3)
    known = [digest_of(made(connection, "read")) for _ in range(3)]
    for digest in known:
        table.find(digest, ADDRESS)
    for _ in range(50):
        with pytest.raises(Unauthorized):
            table.find(digest_of(new_token()), ADDRESS)
    del said[:]
    for digest in known:
        table.find(digest, ADDRESS)
    assert said == []
    table.find(digest_of(made(connection, "read")), ADDRESS)
    assert len(table._known) == len(table._bad) == 3
    # What was asked for longest ago is forgotten, and found again.
    table.find(known[0], ADDRESS)


def test_many_at_once_ask_little_more_than_the_limit(database_url: str, said: list[str]) -> None:
    database = Database(database_url)
    table = TokenTable(database, limit=10)
    refused: list[type[Exception]] = []

    def try_many() -> None:
        try:
            for _ in range(30):
                with pytest.raises((Unauthorized, RateLimited)) as raised:
                    table.find(digest_of(new_token()), ADDRESS)
                refused.append(raised.type)
        finally:
            database.give_back()
            database.close()

    threads = [threading.Thread(target=try_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each thread may have looked before the last of the others was counted.
    assert 10 <= said.count("token_of") == refused.count(Unauthorized) <= 10 + 7


def test_the_limit_of_requests_is_the_tokens_own(make_app: Callable[..., flask.Flask], connection: Connection) -> None:
    client = make_app(require_token=True, rate_limit_per_minute=3).test_client()
    one, other = made(connection, "read"), made(connection, "read")
    assert [status(client, one, peer=f"192.0.2.{n}") for n in range(4)] == [200, 200, 200, 429]
    assert [status(client, other) for _ in range(4)] == [200, 200, 200, 429]
    # What it may not do counts too.
    worker = made(connection, "work")
    assert [status(client, worker) for _ in range(4)] == [403, 403, 403, 429]


def test_a_token_where_none_is_asked_for_is_not_looked_up(
    make_app: Callable[..., flask.Flask], connection: Connection, said: list[str]
) -> None:
    client = make_app().test_client()
    for token in (made(connection, "read"), new_token()):
        del said[:]
        assert status(client, token) == 200
        assert "token_of" not in said


def test_the_last_use_is_noted_to_the_minute_and_after_the_answer(
    guarded: FlaskClient, connection: Connection, said: list[str]
) -> None:
    token = made(connection, "read")
    del said[:]
    response = guarded.get("/jobs", headers=bearer(token))
    assert "note_use" not in said
    response.close()
    assert said[-1] == "note_use"
    assert status(guarded, token) == 200
    assert said.count("note_use") == 1
    assert tokens.every(connection)[0].last_used_at is not None


def test_the_use_by_a_request_that_is_refused_is_noted_too(guarded: FlaskClient, connection: Connection) -> None:
    assert status(guarded, made(connection, "work")) == 403
    assert tokens.every(connection)[0].last_used_at is not None


def test_a_use_that_cannot_be_noted_harms_nobody(
    guarded: FlaskClient, connection: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(tokens._SQL, "note_use", "select windlass.nothing_of_this_name()")
    assert status(guarded, token := made(connection, "read")) == 200
    assert f"the use of token {id_of(connection, token)} is not noted" in caplog.text
    assert status(guarded, token) == 200
    assert tokens.every(connection)[0].last_used_at is None
