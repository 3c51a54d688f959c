"""Who may do what: every route, with every token, under every setting."""

import hmac
from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.access import UNKNOWN_JOB, asked_by, filled, operations, template
from support.http import EXTERNAL, check_error

from app.auth import Level

TOKENS = {"none": None, "wrong": "x", "empty": "", "client": "the-clients-token", "admin": "the-admins-token"}
OPEN, CLIENT, ADMIN = Level.PROBE, Level.CLIENT, Level.ADMIN
# A path asks for the same whatever the method.
OTHER_METHODS = ("HEAD", "OPTIONS", "DELETE")
# What is no route under a protected path is protected too.
NO_ROUTES = {
    ("GET", "/nope"): OPEN,
    ("GET", "/jobs/"): CLIENT,
    ("GET", "/jobs/nope"): CLIENT,
    ("GET", "/%6aobs"): CLIENT,
    ("GET", f"/jobs/{UNKNOWN_JOB}/nope"): CLIENT,
    ("GET", f"/jobs/{UNKNOWN_JOB}/%72etry"): ADMIN,
    ("GET", "/v1/nope"): CLIENT,
    ("POST", "/v1/nope/admin"): CLIENT,
    ("GET", "/v1/admin/nope"): ADMIN,
    ("POST", "/v1/admin/"): ADMIN,
    ("GET", "/v1/%61dmin/nope"): ADMIN,
}
BOTH = {"api_token": TOKENS["client"], "admin_token": TOKENS["admin"]}
# Per level, who gets in.
ANYONE = {"none", "wrong", "empty", "client", "admin"}
SETTINGS: dict[str, tuple[dict[str, Any], dict[Level, set[str]]]] = {
    "no token at all": ({}, {OPEN: ANYONE, CLIENT: ANYONE, ADMIN: ANYONE}),
    "both tokens": (BOTH, {OPEN: ANYONE, CLIENT: {"client", "admin"}, ADMIN: {"admin"}}),
    "a client's token only": ({"api_token": TOKENS["client"]}, {OPEN: ANYONE, CLIENT: {"client"}, ADMIN: set()}),
    "an admin's token only": ({"admin_token": TOKENS["admin"]}, {OPEN: ANYONE, CLIENT: {"admin"}, ADMIN: {"admin"}}),
    "an admin's token, clients welcome": (
        {"admin_token": TOKENS["admin"], "allow_anonymous": True},
        {OPEN: ANYONE, CLIENT: ANYONE, ADMIN: {"admin"}},
    ),
    "a client's token, clients welcome": (
        {"api_token": TOKENS["client"], "allow_anonymous": True},
        {OPEN: ANYONE, CLIENT: {"client"}, ADMIN: set()},
    ),
    "protected probes": (
        {**BOTH, "protect_metrics": True},
        {OPEN: {"client", "admin"}, CLIENT: {"client", "admin"}, ADMIN: {"admin"}},
    ),
}


def ask(client: FlaskClient, method: str, path: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with client.open(path, method=method, json={} if method == "POST" else None, headers=headers) as response:
        return response.status_code


def matrix(app: flask.Flask) -> dict[tuple[str, str], Level]:
    """(METHOD, path) → what the contract asks: of every route of the OpenAPI document, and of what is no route."""
    known = {(method, filled(app, method, route)): asked_by(route) for method, route in operations(app)}
    others = {(method, path): level for (_, path), level in known.items() for method in OTHER_METHODS}
    return NO_ROUTES | others | known


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_route_lets_in_whom_it_should_and_nobody_else(make_app: Callable[..., flask.Flask], setting: str) -> None:
    settings, let_in = SETTINGS[setting]
    app = make_app(**settings)
    client = app.test_client()
    for (method, path), level in matrix(app).items():
        for name, token in TOKENS.items():
            status = ask(client, method, path, token)
            got_in = status not in (401, 403)
            assert got_in == (name in let_in[level]), f"{method} {path} with {name}: {status}"
            assert status < 500
            if not got_in:
                # 403 says: we know you, and it is not enough.
                known = name == "client" and settings.get("api_token") == token
                assert (status == 403) == (known and level is ADMIN), f"{method} {path} with {name}: {status}"


def test_every_route_there_is_stands_in_the_matrix(make_app: Callable[..., flask.Flask]) -> None:
    app = make_app()
    rules = {
        (method, template(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert rules == set(operations(app))


def test_a_route_the_contract_does_not_speak_of_is_not_let_pass() -> None:
    for path in ("/dashboard", "/v2/jobs", "/jobsx", "/metrics/all"):
        with pytest.raises(AssertionError, match="does not say who may use it"):
            asked_by(path)


@pytest.fixture
def guarded(make_app: Callable[..., flask.Flask]) -> FlaskClient:
    return make_app(**BOTH, max_body_bytes=1024).test_client()


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer ", "Basic dTpw", "Token the-clients-token", "the-clients-token",
        "Bearer the-clients-toke", "Bearer the-clients-token-and-more", "Bearer THE-CLIENTS-TOKEN",
        "Bearer the-clients-token, Bearer x", "Bearer \u00e9", "Bearer " + "x" * 5000, "Bearer null",
    ],
    ids=lambda header: repr(header)[:30],
)  # fmt: skip
def test_without_a_known_token_the_answer_is_401_and_says_what_to_send(
    guarded: FlaskClient, header: str | None
) -> None:
    response = guarded.get("/jobs", headers={} if header is None else {"Authorization": header})
    check_error(response, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["Bearer the-clients-token", "bearer the-clients-token", "BEARER  the-clients-token "]
)
def test_the_scheme_ignores_case_and_space(guarded: FlaskClient, header: str) -> None:
    assert guarded.get("/jobs", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "sent", ["?token=the-clients-token", "?access_token=the-clients-token", "?api_token=the-clients-token"]
)
def test_a_token_in_the_url_is_no_token(guarded: FlaskClient, sent: str) -> None:
    check_error(guarded.get(f"/jobs{sent}"), "unauthorized")


@pytest.mark.parametrize(
    "request_of",
    [
        {"json": EXTERNAL},
        {"data": b"{"},
        {"data": b"x" * 5000, "content_type": "application/json"},
        {"data": b"[" * 900, "content_type": "application/json"},
        {"json": {"kind": "nope"}},
    ],
    ids=["a good body", "no JSON", "too large", "too deep", "a bad kind"],
)
def test_who_asks_is_settled_before_the_body_is_looked_at(guarded: FlaskClient, request_of: dict[str, Any]) -> None:
    check_error(guarded.post("/jobs", **request_of), "unauthorized")
    headers = {"Authorization": f"Bearer {TOKENS['client']}"}
    check_error(guarded.post(f"/jobs/{UNKNOWN_JOB}/retry", headers=headers, **request_of), "forbidden")


def test_both_tokens_are_always_compared_in_constant_time(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", spy)
    for token in ("x", "the-clients-token", "the-admins-token", "the-clients-toke"):
        compared.clear()
        guarded.get("/jobs", headers={"Authorization": f"Bearer {token}"})
        assert compared == [(32, 32)] * 2
