"""Who may do what. A view says what it asks for (`requires`); the gate compares the token before anything is parsed.

Once any token is configured, nothing is open to everyone but the probes and the documentation.
"""

import hmac
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from typing import Any, TypeVar

import flask

from app.problems import Forbidden, Unauthorized
from app.settings import AppSettings

View = TypeVar("View", bound=Callable[..., Any])


class Level(Enum):
    """What a route asks of its caller."""

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


class Gate:
    """Lets a request through, or raises Unauthorized (no token, an unknown one) or Forbidden (too weak a one)."""

    def __init__(self, settings: AppSettings) -> None:
        self._client = _digest(settings.api_token)
        self._admin = _digest(settings.admin_token)
        self._protect_probes = settings.protect_metrics
        self._clients_need_token = bool(self._client or (self._admin and not settings.allow_anonymous))
        self._admins_need_token = bool(self._client or self._admin)

    def check(self) -> None:
        """Flask's `before_request`: returns None for a request that may go on."""
        level = _level_of(flask.request)
        if not self.needs_token(level):
            return
        token = _bearer(flask.request.headers.get("Authorization", ""))
        if token is None:
            raise Unauthorized("a token is needed: send Authorization: Bearer <token>")
        # Both comparisons are always made, on digests of one length: time tells nothing about either token.
        is_admin = hmac.compare_digest(token, self._admin or b"")
        is_client = hmac.compare_digest(token, self._client or b"")
        if not (is_admin or is_client):
            raise Unauthorized("the token is not known")
        if level is Level.ADMIN and not is_admin:
            raise Forbidden("this route needs the admin's token")

    def needs_token(self, level: Level) -> bool:
        """Whether a route of this level asks for a token under the present settings."""
        if level is Level.ADMIN:
            return self._admins_need_token
        if level is Level.CLIENT:
            return self._clients_need_token
        return self._protect_probes


def _level_of(request: flask.Request) -> Level:
    if request.endpoint is not None:
        view = flask.current_app.view_functions[request.endpoint]
        level: Level = getattr(view, "level", Level.CLIENT)
        return level
    # No route: under the protected paths a stranger learns nothing, elsewhere there is nothing to learn.
    return Level.CLIENT if request.path.split("/")[1:2] in (["jobs"], ["v1"]) else Level.PROBE


def _bearer(header: str) -> bytes | None:
    scheme, _, token = header.partition(" ")
    return _digest(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


def _digest(token: str | None) -> bytes | None:
    return sha256(token.encode("utf-8", "surrogateescape")).digest() if token else None
