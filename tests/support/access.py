"""Who may use which path by the contract's own rule, for tests that hold the routes against it."""

import re
from collections.abc import Iterator
from typing import Any

import flask

from app.auth import Level

UNKNOWN_JOB = "01a200c6-e47b-72f2-a97e-1600febf64d7"
# Not in the document: the page and its files are for browsers, and the document does not list itself.
UNLISTED = {"/docs", "/swagger-ui", "/docs/assets/{name}", "/api-docs/openapi.json"}
_OPEN = {"/health", "/healthz", "/metrics"} | UNLISTED
_PARAMETERS = {"job_id": UNKNOWN_JOB, "queue": "default", "name": "docs.js"}


def asked_by(path: str) -> Level:
    """What the contract asks of those who use `path` (a template of the document); fails where it does not say."""
    if path.startswith("/v1/admin/") or re.fullmatch(r"/jobs/[^/]+/retry", path):
        return Level.ADMIN
    if path == "/jobs" or path.startswith(("/jobs/", "/v1/")):
        return Level.CLIENT
    assert path in _OPEN, f"{path}: the contract does not say who may use it; decide, and then name it here"
    return Level.PROBE


def operations(app: flask.Flask) -> Iterator[tuple[str, str]]:
    """(METHOD, path template) of every operation of the OpenAPI document, and of what the document leaves out."""
    client = app.test_client()
    token = app.extensions["windlass"].settings.admin_token
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
