"""Who may do what. A view says which scopes it asks for (`requires`, `for_everyone`); the gate judges the token before
anything is parsed (`limits` asks it, and then counts).

A token is one of the two of the environment, which need no database, or one of `windlass token` (`token_table`). Once
any is asked for, nothing is open to everyone but the probes and the documentation.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import flask
from werkzeug.exceptions import MethodNotAllowed

from app.problems import Forbidden, Unauthorized
from app.settings import AppSettings
from app.token_table import TokenTable
from app.tokens import Scope, digest_of, is_one_of_ours, is_whole

View = TypeVar("View", bound=Callable[..., Any])


Scopes = frozenset[Scope]
EVERYONE: Scopes = frozenset()
"""What a probe asks for: nothing, or any token with PROTECT_METRICS."""
CLIENT: Scopes = frozenset({Scope.ENQUEUE, Scope.READ, Scope.WORK})
"""What API_TOKEN is good for."""
ADMIN: Scopes = frozenset({Scope.ADMIN})


def requires(scope: Scope) -> Callable[[View], View]:
    """Says what a view asks for; a view that says nothing asks for ADMIN."""
    return _marking(frozenset({scope}))


def for_everyone(view: View) -> View:
    """Says that a view is a probe or documentation."""
    return _marking(EVERYONE)(view)


def _marking(scopes: Scopes) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.scopes = scopes  # type: ignore[attr-defined]
        return view

    return mark


def scopes_of(view: Callable[..., Any]) -> Scopes:
    """What a view asks for: one of these is enough."""
    scopes: Scopes = getattr(view, "scopes", ADMIN)
    return scopes


@dataclass(frozen=True)
class Bearer:
    """Who sent a good token: the client that is counted, and what the token is good for."""

    client: bytes
    scopes: Scopes

    def may(self, asked: Scopes) -> bool:
        """Whether that is enough for a route that asks for one of `asked`."""
        return not asked or Scope.ADMIN in self.scopes or bool(asked & self.scopes)


_API_TOKEN = Bearer(b"client", CLIENT)
_ADMIN_TOKEN = Bearer(b"admin", ADMIN)


@dataclass(frozen=True)
class Verdict:
    """On one request: one of which scopes its route asks for, who sent it if that was verified, why it is refused."""

    asked: Scopes
    bearer: Bearer | None
    refusal: Unauthorized | Forbidden | None


class Gate:
    """Decides who is let in: no token or one that is no good is Unauthorized, too narrow a one Forbidden."""

    def __init__(self, settings: AppSettings, table: TokenTable) -> None:
        self._client = digest_of(settings.api_token) if settings.api_token else None
        self._admin = digest_of(settings.admin_token) if settings.admin_token else None
        self._table = table
        self._protect_probes = settings.protect_metrics
        self._clients_need_token = bool(
            self._client or settings.require_token or (self._admin and not settings.allow_anonymous)
        )
        self._admins_need_token = bool(self._client or self._admin or settings.require_token)

    def judge(self, request: flask.Request, address: bytes) -> Verdict:
        """The verdict on a request from `address`, from its head alone.

        Raises RateLimited or Unavailable when it takes the table of tokens and that cannot be asked.
        """
        asked = _asked_by(request)
        given = _bearer_text(request.headers.get("Authorization", ""))
        needed = self.needs_token(asked)
        bearer = self._of_environment(given) if given is not None else None
        refusal: Unauthorized | Forbidden | None = None
        if needed and given is None:
            refusal = Unauthorized("a token is needed: send Authorization: Bearer <token>")
        elif needed and given is not None and bearer is None:
            try:
                bearer = self._of_table(given, address)
            except Unauthorized as unauthorized:
                refusal = unauthorized
        if needed and bearer is not None and not bearer.may(asked):
            refusal = Forbidden(f"this route asks for the scope {' or '.join(sorted(asked))}, which the token lacks")
        return Verdict(asked, bearer, refusal)

    def check_again(self) -> None:
        """For a request that has waited: raises what `judge` would refuse it with now, which costs as little."""
        refusal = self.judge(flask.request, flask.g.address).refusal
        if refusal is not None:
            raise refusal

    def _of_environment(self, given: str) -> Bearer | None:
        # Both comparisons are always made, on digests of one length: time tells nothing about either token.
        digest = digest_of(given)
        is_admin = hmac.compare_digest(digest, self._admin or b"")
        is_client = hmac.compare_digest(digest, self._client or b"")
        return _ADMIN_TOKEN if is_admin else _API_TOKEN if is_client else None

    def _of_table(self, given: str, address: bytes) -> Bearer:
        if not is_whole(given):
            raise Unauthorized(f"the token {'is mistyped or cut off' if is_one_of_ours(given) else 'is not known'}")
        # A look-up by digest and not by text: whoever measures it learns of a digest, from which no token follows.
        found = self._table.find(digest_of(given), address)
        if found.note_use:
            flask.after_this_request(lambda response: _at_the_end(response, lambda: self._table.note_use(found.id)))
        return Bearer(b"the token %d" % found.id, frozenset(map(Scope, found.scopes)))

    def needs_token(self, asked: Scopes) -> bool:
        """Whether a route that asks for one of `asked` wants a token at all under the present settings."""
        if not asked:
            return self._protect_probes
        return self._admins_need_token if asked == ADMIN else self._clients_need_token


def _asked_by(request: flask.Request) -> Scopes:
    views = flask.current_app.view_functions
    if request.endpoint is not None:
        return scopes_of(views[request.endpoint])
    if isinstance(request.routing_exception, MethodNotAllowed):
        # A known path asks for the same whatever the method; where its methods differ, for what any of them does.
        adapter = flask.current_app.create_url_adapter(request)
        assert adapter is not None
        methods = request.routing_exception.valid_methods or ()
        return frozenset().union(*(scopes_of(views[adapter.match(method=method)[0]]) for method in methods))
    # No route: under the protected paths a stranger learns nothing, elsewhere there is nothing to learn.
    _, *steps = request.path.split("/")
    if steps[:2] == ["v1", "admin"]:
        return ADMIN
    return CLIENT if steps[:1] in (["jobs"], ["v1"]) else EVERYONE


def _at_the_end(response: flask.Response, what: Callable[[], None]) -> flask.Response:
    """Does it when the client has its answer."""
    response.call_on_close(what)
    return response


def _bearer_text(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
