"""Who may use which path by the contract's own rule, for tests that hold the routes against it."""

import re
from collections.abc import Iterator
from typing import Any

import flask

from app.auth import EVERYONE, Scopes
from app.tokens import Scope

UNKNOWN_JOB = "01a200c6-e47b-72f2-a97e-1600febf64d7"
# Not in the document: the page and its files are for browsers, and the document does not list itself.
UNLISTED = {"/docs", "/swagger-ui", "/docs/assets/{name}", "/api-docs/openapi.json"}
_OPEN = {"/health", "/healthz", "/metrics"} | UNLISTED
_PARAMETERS = {"job_id": UNKNOWN_JOB, "queue": "default", "name": "docs.js"}


# The first that fits says what a route asks for.
_RULES = (
    (r"\w+ /v1/admin/.+", Scope.ADMIN),
    (r"POST /jobs/[^/]+/retry", Scope.ADMIN),
    (r"GET /jobs(/[^/]+)?", Scope.READ),
    (r"POST (/v1)?/jobs|POST /jobs/bulk|POST /jobs/[^/]+/cancel", Scope.ENQUEUE),
    (r"POST /v1/lease|POST /v1/jobs/[^/]+/(ack|fail|heartbeat|release)", Scope.WORK),
)


def asked_by(method: str, path: str) -> Scopes:
    """What the contract asks of those who use an operation (`path` is a template of the document): one of these scopes.
    Fails where it does not say.
    """
    for rule, scope in _RULES:
        if re.fullmatch(rule, f"{method} {path}"):
            return frozenset({scope})
    assert method == "GET", f"{method} {path}: the contract does not say who may use it; decide, and then name it here"
    assert path in _OPEN, f"{path}: the contract does not say who may use it; decide, and then name it here"
    return EVERYONE


def operations(app: flask.Flask, token: str | None = None) -> Iterator[tuple[str, str]]:
    """(METHOD, path template) of every operation of the OpenAPI document, and of what the document leaves out.

    `token`: one that may read it, where that is not ADMIN_TOKEN.
    """
    client = app.test_client()
    token = token or app.extensions["windlass"].settings.admin_token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    document: dict[str, Any] = client.get("/api-docs/openapi.json", headers=headers).get_json()
    for path, methods in document["paths"].items():
        yield from ((method.upper(), path) for method in methods if method != "parameters")
    yield from (("GET", path) for path in sorted(UNLISTED))


def filled(app: flask.Flask, method: str, path: str) -> str:
    """The template with its parameters filled in; fails if that is no longer the same route."""
    address = re.sub(r"\{(\w+)\}", lambda found: _PARAMETERS.get(found[1], "x"), path)
    rule, _ = app.url_map.bind("localhost").match(address, method=method, return_rule=True)
    assert template(rule.rule) == path, f"{path}: give its parameters values in {__name__}"
    return address


def template(rule: str) -> str:
    """A rule of Flask's as the document writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)
