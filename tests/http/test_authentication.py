"""Who may do what: every route, with every token, under every setting."""

import hmac
from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.access import UNKNOWN_JOB, asked_by, filled, operations, template
from support.figures import Publish
from support.http import EXTERNAL, check_error
from support.token_holders import ends_in, made, mistyped, revoke

from app.auth import ADMIN, CLIENT, EVERYONE, Scopes
from app.tokens import Scope, new_token
from sql.connection import Connection

TOKENS = {"none": None, "wrong": "x", "empty": "", "client": "the-clients-token", "admin": "the-admins-token"}
# What is no route under a protected path is protected too.
NO_ROUTES = {
    ("GET", "/nope"): EVERYONE,
    ("GET", "/jobs/"): CLIENT,
    ("GET", "/jobs/nope"): CLIENT,
    ("GET", "/%6aobs"): frozenset({Scope.READ}),
    ("GET", f"/jobs/{UNKNOWN_JOB}/nope"): CLIENT,
    ("GET", f"/jobs/{UNKNOWN_JOB}/%72etry"): ADMIN,
    ("GET", "/v1/nope"): CLIENT,
    ("POST", "/v1/nope/admin"): CLIENT,
    ("GET", "/v1/admin/nope"): ADMIN,
    ("POST", "/v1/admin/"): ADMIN,
    ("GET", "/v1/%61dmin/nope"): ADMIN,
}
OF_THE_ENVIRONMENT = {"client": ("api_token", CLIENT), "admin": ("admin_token", ADMIN)}
BOTH = {"api_token": TOKENS["client"], "admin_token": TOKENS["admin"]}
# Of each setting, which routes want a token at all: those of clients, those of admins, those of probes.
SETTINGS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "no token at all": ({}, set()),
    "both tokens": (BOTH, {"client", "admin"}),
    "a client's token only": ({"api_token": TOKENS["client"]}, {"client", "admin"}),
    "an admin's token only": ({"admin_token": TOKENS["admin"]}, {"client", "admin"}),
    "an admin's token, clients welcome": ({"admin_token": TOKENS["admin"], "allow_anonymous": True}, {"admin"}),
    "a client's token, clients welcome": (
        {"api_token": TOKENS["client"], "allow_anonymous": True},
        {"client", "admin"},
    ),
    "protected probes": ({**BOTH, "protect_metrics": True}, {"client", "admin", "probe"}),
    "tokens of the table only": ({"require_token": True}, {"client", "admin"}),
    "those only, for probes too": ({"require_token": True, "protect_metrics": True}, {"client", "admin", "probe"}),
}


@pytest.fixture
def of_the_table(connection: Connection) -> dict[str, str]:
    """One token for each scope, one for two, and one of each sort that is good for nothing."""
    found = {f"only {scope}": made(connection, scope) for scope in Scope}
    found["enqueue and read"] = made(connection, "enqueue", "read")
    found["expired"] = made(connection, "admin")
    ends_in(connection, found["expired"], -1)
    found["revoked"] = made(connection, "admin")
    revoke(connection, found["revoked"])
    return {**found, "unknown": new_token(), "mistyped": mistyped(made(connection, "admin"))}


def ask(client: FlaskClient, method: str, path: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with client.open(path, method=method, json={} if method == "POST" else None, headers=headers) as response:
        return response.status_code


def matrix(app: flask.Flask, admin: str) -> dict[tuple[str, str], Scopes]:
    """(METHOD, path) → what the contract asks: of every route of the OpenAPI document, and of what is no route."""
    known = {(method, filled(app, method, route)): asked_by(method, route) for method, route in operations(app, admin)}
    found = NO_ROUTES | known
    for _, path in known:
        methods = {method: asked for (method, other), asked in known.items() if other == path}
        # Another method of a known path asks for what any of its methods does.
        any_of_them = frozenset[Scope]().union(*methods.values())
        found |= {(method, path): any_of_them for method in ("OPTIONS", "DELETE")}
        found["HEAD", path] = methods.get("GET", any_of_them)
    return found


def good_for(token: str, settings: dict[str, Any]) -> Scopes | None:
    """The scopes of a token by its name above; None of one that is not good."""
    if token in OF_THE_ENVIRONMENT:
        variable, scopes = OF_THE_ENVIRONMENT[token]
        return scopes if variable in settings else None
    words = token.removeprefix("only ").split(" and ")
    return frozenset(map(Scope, words)) if set(words) <= set(Scope) else None


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_route_lets_in_whom_it_should_and_nobody_else(
    make_app: Callable[..., flask.Flask], of_the_table: dict[str, str], publish: Publish, setting: str
) -> None:
    settings, guarded = SETTINGS[setting]
    app = make_app(**settings)
    client = app.test_client()
    wrong = []
    requests = 0
    for (method, path), asked in matrix(app, of_the_table["only admin"]).items():
        sort = "probe" if not asked else "admin" if asked == ADMIN else "client"
        for name, token in (TOKENS | of_the_table).items():
            scopes = good_for(name, settings)
            # 403 says: we know you, and it is not enough.
            refused = 401 if scopes is None else None if not asked or scopes & (asked | ADMIN) else 403
            if sort not in guarded:
                refused = None
            status = ask(client, method, path, token)
            got = status if status in (401, 403) else None
            requests += 1
            if got != refused or status >= 500:
                wrong.append(f"{method} {path} with {name}: {status}")
    publish(f"{setting}: {requests} requests, {len(wrong)} answered otherwise than the contract says")
    assert not wrong, wrong


def test_every_route_there_is_stands_in_the_matrix(make_app: Callable[..., flask.Flask]) -> None:
    app = make_app()
    rules = {
        (method, template(rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert rules == set(operations(app))


def test_a_route_the_contract_does_not_speak_of_is_not_let_pass() -> None:
    for path in ("/dashboard", "/v2/jobs", "/jobsx", "/metrics/all", "/v1/jobs", "/jobs/1/log"):
        with pytest.raises(AssertionError, match="does not say who may use it"):
            asked_by("GET", path)
    for path in ("/health", "/jobs/1/restart", "/v1/jobs/1/steal"):
        with pytest.raises(AssertionError, match="does not say who may use it"):
            asked_by("POST", path)


def test_a_view_that_says_nothing_asks_for_the_most(make_app: Callable[..., flask.Flask]) -> None:
    app = make_app(**BOTH)
    app.add_url_rule("/jobs/forgotten", view_func=lambda: "open", endpoint="forgotten")
    client = app.test_client()
    statuses = [ask(client, "GET", "/jobs/forgotten", TOKENS[name]) for name in ("none", "client", "admin")]
    assert statuses == [401, 403, 200]


def test_too_narrow_a_token_is_told_the_scope_it_lacks(
    make_app: Callable[..., flask.Flask], of_the_table: dict[str, str]
) -> None:
    client = make_app(**BOTH).test_client()
    reader = {"Authorization": f"Bearer {of_the_table['only read']}"}
    for path, scope in (("/jobs", "enqueue"), ("/v1/lease", "work"), (f"/jobs/{UNKNOWN_JOB}/retry", "admin")):
        assert f"the scope {scope}," in check_error(client.post(path, headers=reader), "forbidden")["message"]


@pytest.mark.parametrize(
    ("name", "word"),
    [("unknown", "not known"), ("expired", "expired"), ("revoked", "revoked"), ("mistyped", "mistyped")],
)
def test_who_holds_a_token_that_is_over_is_told_why(
    make_app: Callable[..., flask.Flask], of_the_table: dict[str, str], name: str, word: str
) -> None:
    client = make_app(require_token=True).test_client()
    for _ in range(2):
        response = client.get("/jobs", headers={"Authorization": f"Bearer {of_the_table[name]}"})
        assert word in check_error(response, "unauthorized")["message"]
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_every_route_of_a_job_says_404_for_one_there_is_not_to_whom_it_lets_in(
    make_app: Callable[..., flask.Flask], of_the_table: dict[str, str]
) -> None:
    app = make_app(require_token=True)
    client = app.test_client()
    bodies = {"fail": {"reason": "no"}, "heartbeat": {"extend_ms": 1000}}
    routes = [each for each in operations(app) if "{job_id}" in each[1]]
    assert len(routes) == 8
    for method, path in routes:
        (scope,) = asked_by(method, path)
        body = {"json": bodies.get(path.rpartition("/")[2], {})} if method == "POST" else {}
        for name in (scope, "admin"):
            headers = {"Authorization": f"Bearer {of_the_table[f'only {name}']}"}
            response = client.open(filled(app, method, path), method=method, headers=headers, **body)
            assert UNKNOWN_JOB in check_error(response, "not_found")["message"]


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
