"""How often one client may ask: who is one client, what counts, and in which order a request is judged."""

import logging
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.access import UNKNOWN_JOB, asked_by, filled, operations
from support.http import EXTERNAL, check_error
from support.work import count
from werkzeug.test import TestResponse

from sql.connection import Connection

BOTH = {"api_token": "the-clients-token", "admin_token": "the-admins-token"}
CLIENT, ADMIN = "the-clients-token", "the-admins-token"
PROXY = "10.0.0.1"


class Caller:
    """Asks from an address, with a token, through proxies."""

    def __init__(self, app: flask.Flask) -> None:
        self._client: FlaskClient = app.test_client()

    def ask(
        self,
        token: str | None = None,
        *,
        peer: str = "192.0.2.1",
        forwarded: str | None = None,
        path: str = "/jobs",
        method: str = "GET",
        **sent: Any,
    ) -> TestResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if forwarded is not None:
            headers["X-Forwarded-For"] = forwarded
        # Buffered: a file that is served is closed again.
        return self._client.open(
            path, method=method, headers=headers, environ_overrides={"REMOTE_ADDR": peer}, buffered=True, **sent
        )

    def statuses(self, times: int, *args: Any, **kwargs: Any) -> list[int]:
        return [self.ask(*args, **kwargs).status_code for _ in range(times)]


@pytest.fixture
def limited(make_app: Callable[..., flask.Flask]) -> Callable[..., Caller]:
    """Makes an application with this limit; keyword arguments are settings."""

    def make(limit: int, **settings: Any) -> Caller:
        return Caller(make_app(rate_limit_per_minute=limit, **settings))

    return make


def check_limited(response: TestResponse) -> None:
    check_error(response, "rate_limited")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert f"come back in {response.headers['Retry-After']} s" in response.get_json()["message"]


@pytest.mark.parametrize("settings", [{}, BOTH], ids=["no token", "tokens"])
def test_every_route_is_limited_but_those_that_watch_and_the_document_says_which(
    make_app: Callable[..., flask.Flask], settings: dict[str, str]
) -> None:
    app = make_app(rate_limit_per_minute=1, **settings)
    caller = Caller(app)
    document = app.test_client().get("/api-docs/openapi.json").get_json()
    for number, (method, path) in enumerate(operations(app)):
        # Each route has a client of its own; with tokens configured its failures are what is counted.
        address = f"192.0.2.{number}"
        body = {"json": {}} if method == "POST" else {}
        first, second, third = (
            caller.ask(peer=address, path=filled(app, method, path), method=method, **body) for _ in range(3)
        )
        if not asked_by(method, path):
            assert first.status_code == second.status_code == third.status_code < 429, path
        else:
            assert first.status_code != 429, path
            check_limited(second)
            check_limited(third)
            described = document["paths"][path][method.lower()]["responses"]
            assert described["429"] == {"$ref": "#/components/responses/RateLimited"}


def test_without_the_setting_nobody_is_limited(make_app: Callable[..., flask.Flask]) -> None:
    assert set(Caller(make_app()).statuses(300)) == {200}


def test_all_routes_and_methods_count_together(limited: Callable[..., Caller]) -> None:
    caller = limited(5)
    assert caller.ask(method="POST", json=EXTERNAL).status_code == 201
    assert caller.ask(method="HEAD").status_code == 200
    assert caller.ask(method="DELETE").status_code == 405
    assert caller.ask(path=f"/jobs/{UNKNOWN_JOB}").status_code == 404
    assert caller.ask(path="/v1/nope").status_code == 404
    check_limited(caller.ask())


def test_a_refused_request_does_nothing(limited: Callable[..., Caller], connection: Connection) -> None:
    caller = limited(2)
    statuses = caller.statuses(5, method="POST", json=EXTERNAL)
    assert statuses == [201, 201, 429, 429, 429]
    assert count(connection, "jobs") == 2


@pytest.mark.parametrize(
    "sent",
    [
        {"data": b"{", "content_type": "application/json"},
        {"data": b"x" * 5000, "content_type": "application/json"},
        {"data": b"", "content_type": "text/plain"},
        {"json": {"kind": "nope"}},
    ],
    ids=["no JSON", "too large", "no type", "a bad kind"],
)
def test_auth_comes_before_the_limit_and_the_limit_before_the_body(
    limited: Callable[..., Caller], sent: dict[str, Any]
) -> None:
    caller = limited(2, max_body_bytes=1024, **BOTH)
    post = {"path": "/jobs", "method": "POST", **sent}
    assert caller.statuses(3, "wrong", **post) == [401, 401, 429]
    # What cannot be read counts like anything else.
    statuses = caller.statuses(3, CLIENT, **post)
    assert set(statuses[:2]) <= {400, 413, 415, 422}
    assert statuses[2] == 429


def test_a_client_is_its_token_from_wherever_it_asks(limited: Callable[..., Caller]) -> None:
    caller = limited(4, **BOTH)
    assert caller.statuses(2, CLIENT, peer="192.0.2.1") == [200, 200]
    assert caller.statuses(3, CLIENT, peer="192.0.2.2") == [200, 200, 429]
    # Another token is another client, at the same address too.
    assert caller.statuses(5, ADMIN, peer="192.0.2.2") == [200] * 4 + [429]


@pytest.mark.parametrize("settings", [{}, {"admin_token": ADMIN, "allow_anonymous": True}], ids=["none", "admin's"])
def test_a_token_nobody_checks_makes_no_client(limited: Callable[..., Caller], settings: dict[str, Any]) -> None:
    caller = limited(3, **settings)
    assert [caller.ask(token).status_code for token in ("a", "b", None, "c", "d")] == [200, 200, 200, 429, 429]
    assert caller.ask("a", peer="192.0.2.2").status_code == 200


def test_a_verified_token_is_a_client_of_its_own_where_none_is_needed(limited: Callable[..., Caller]) -> None:
    caller = limited(2, admin_token=ADMIN, allow_anonymous=True)
    assert caller.statuses(3) == [200, 200, 429]
    assert caller.statuses(3, ADMIN) == [200, 200, 429]


@pytest.mark.parametrize("bad", [None, "", "wrong", CLIENT + "x"])
def test_a_failed_authentication_counts_against_the_address(limited: Callable[..., Caller], bad: str | None) -> None:
    caller = limited(3, **BOTH)
    assert caller.statuses(3, bad) == [401] * 3
    response = caller.ask(bad)
    check_limited(response)
    assert "without a known token" in response.get_json()["message"]
    # Neither does another wrong token help, nor another route.
    assert caller.ask("another", path="/v1/nope").status_code == 429
    assert caller.ask(bad, peer="192.0.2.2").status_code == 401
    # One who has a good token is let in all the same, and limited by that.
    assert caller.statuses(4, CLIENT) == [200, 200, 200, 429]


def test_guessing_the_admins_token_counts_against_the_address_where_clients_need_none(
    limited: Callable[..., Caller],
) -> None:
    caller = limited(3, admin_token=ADMIN, allow_anonymous=True)
    guess = {"method": "POST", "path": f"/jobs/{UNKNOWN_JOB}/retry"}
    assert caller.statuses(4, "guess", **guess) == [401, 401, 401, 429]
    assert caller.ask().status_code == 429
    assert caller.ask(ADMIN, **guess).status_code == 404


def test_too_weak_a_token_counts_against_itself(limited: Callable[..., Caller]) -> None:
    caller = limited(3, **BOTH)
    retry = {"method": "POST", "path": f"/jobs/{UNKNOWN_JOB}/retry"}
    assert caller.statuses(4, CLIENT, **retry) == [403, 403, 403, 429]
    assert caller.statuses(2, CLIENT) == [429, 429]
    assert caller.ask("wrong").status_code == 401


def test_who_may_watch_is_never_limited_and_who_may_not_is(limited: Callable[..., Caller]) -> None:
    caller = limited(2, protect_metrics=True, **BOTH)
    assert caller.statuses(3, "wrong", path="/health") == [401, 401, 429]
    assert caller.statuses(3, CLIENT) == [200, 200, 429]
    for path in ("/health", "/healthz", "/metrics", "/docs"):
        assert caller.statuses(5, CLIENT, path=path) == [200] * 5


@pytest.mark.parametrize("settings", [{}, BOTH], ids=["no token", "tokens"])
def test_what_a_stranger_forwards_changes_nothing(limited: Callable[..., Caller], settings: dict[str, str]) -> None:
    caller = limited(3, **settings)
    statuses = [caller.ask(forwarded=f"198.51.100.{n}").status_code for n in range(6)]
    assert statuses[3:] == [429] * 3
    # And one who names another's address costs that other nothing.
    assert caller.ask(peer="198.51.100.1").status_code != 429


def test_behind_a_trusted_proxy_a_client_is_the_address_the_proxy_saw(
    limited: Callable[..., Caller],
) -> None:
    caller = limited(2, trusted_proxies=(ip_network("10.0.0.0/24"),))
    for forwarded in ("198.51.100.1", "198.51.100.2"):
        # What stands further left the client may have made up.
        statuses = [
            caller.ask(peer=PROXY, forwarded=f"203.0.113.{n}, {forwarded}, 10.0.0.9").status_code for n in range(3)
        ]
        assert statuses == [200, 200, 429]
    assert caller.ask(peer=PROXY, forwarded="203.0.113.1").status_code == 200


def test_an_ipv6_customer_is_one_client(limited: Callable[..., Caller]) -> None:
    caller = limited(2)
    assert [caller.ask(peer=f"2001:db8:1:1::{n}").status_code for n in range(3)] == [200, 200, 429]
    assert caller.ask(peer="2001:db8:1:2::1").status_code == 200


def test_the_log_names_the_client_that_was_refused_and_no_token(
    limited: Callable[..., Caller], caplog: pytest.LogCaptureFixture
) -> None:
    caller = limited(1, trusted_proxies=(ip_network(PROXY),), **BOTH)
    caplog.set_level(logging.INFO)
    caller.statuses(2, "a-wrong-token", peer=PROXY, forwarded="198.51.100.1")
    lines = [vars(record) for record in caplog.records if record.message == "answered"]
    assert [(line["status"], line["client"]) for line in lines] == [(401, "198.51.100.1"), (429, "198.51.100.1")]
    assert "a-wrong-token" not in caplog.text
