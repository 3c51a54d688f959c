"""Who may do what. A view says what it asks for (`requires`); the gate compares the token before anything is parsed
(`limits` asks it, and then counts).

Once any token is configured, nothing is open to everyone but the probes and the documentation.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Any, TypeVar

import flask
from werkzeug.exceptions import MethodNotAllowed

from app.problems import Forbidden, Unauthorized
from app.settings import AppSettings

View = TypeVar("View", bound=Callable[..., Any])


class Level(Enum):
    """What a route asks of its caller, from the least to the most."""

    PROBE = "probe"
    """Open to everyone, or any token with PROTECT_METRICS."""
    CLIENT = "client"
    """API_TOKEN or ADMIN_TOKEN."""
    ADMIN = "admin"
    """ADMIN_TOKEN."""


def requires(level: Level) -> Callable[[View], View]:
    """Says what a view asks for; a view that says nothing asks for CLIENT."""

    def mark(view: View) -> View:
        view.level = level  # type: ignore[attr-defined]
        return view

    return mark


@dataclass(frozen=True)
class Verdict:
    """On one request: what its route asks for, the level of the token that was verified, and why it is refused."""

    asked: Level
    token: Level | None
    refusal: Unauthorized | Forbidden | None


class Gate:
    """Decides who is let in: no token or an unknown one is Unauthorized, too weak a one Forbidden."""

    def __init__(self, settings: AppSettings) -> None:
        self._client = _digest(settings.api_token)
        self._admin = _digest(settings.admin_token)
        self._protect_probes = settings.protect_metrics
        self._clients_need_token = bool(self._client or (self._admin and not settings.allow_anonymous))
        self._admins_need_token = bool(self._client or self._admin)

    def judge(self, request: flask.Request) -> Verdict:
        """The verdict on a request, from its head alone."""
        asked = _level_of(request)
        given = _bearer(request.headers.get("Authorization", ""))
        token = self._verified(given) if given is not None else None
        refusal: Unauthorized | Forbidden | None = None
        if self.needs_token(asked):
            if given is None:
                refusal = Unauthorized("a token is needed: send Authorization: Bearer <token>")
            elif token is None:
                refusal = Unauthorized("the token is not known")
            elif asked is Level.ADMIN and token is not Level.ADMIN:
                refusal = Forbidden("this route needs the admin's token")
        return Verdict(asked, token, refusal)

    def _verified(self, given: bytes) -> Level | None:
        # Both comparisons are always made, on digests of one length: time tells nothing about either token.
        is_admin = hmac.compare_digest(given, self._admin or b"")
        is_client = hmac.compare_digest(given, self._client or b"")
        return Level.ADMIN if is_admin else Level.CLIENT if is_client else None

    def needs_token(self, level: Level) -> bool:
        """Whether a route of this level asks for a token under the present settings."""
        if level is Level.ADMIN:
            return self._admins_need_token
        if level is Level.CLIENT:
            return self._clients_need_token
        return self._protect_probes


def _level_of(request: flask.Request) -> Level:
    if request.endpoint is not None:
        return _level_of_view(request.endpoint)
    if isinstance(request.routing_exception, MethodNotAllowed):
        # A known path asks for the same whatever the method; where its methods differ, for the most.
        adapter = flask.current_app.create_url_adapter(request)
        assert adapter is not None
        methods = request.routing_exception.valid_methods or ()
        levels = {_level_of_view(adapter.match(method=method)[0]) for method in methods}
        return max(levels, key=list(Level).index)
    # No route: under the protected paths a stranger learns nothing, elsewhere there is nothing to learn.
    _, *steps = request.path.split("/")
    if steps[:2] == ["v1", "admin"]:
        return Level.ADMIN
    return Level.CLIENT if steps[:1] in (["jobs"], ["v1"]) else Level.PROBE


def _level_of_view(endpoint: str) -> Level:
    level: Level = getattr(flask.current_app.view_functions[endpoint], "level", Level.CLIENT)
    return level


def _bearer(header: str) -> bytes | None:
    scheme, _, token = header.partition(" ")
    return _digest(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


def _digest(token: str | None) -> bytes | None:
    return sha256(token.encode("utf-8", "surrogateescape")).digest() if token else None
