"""How often one client may ask, and the order in which a request is judged: who asks, how often, and only then what.

The client is the token that was verified, so all who share a token share its limit; without one it is the address.
A request that fails to authenticate counts against its address, and once that is used up is answered 429 and not 401.
A good token passes from such an address all the same: many clients may share it, and one with a wrong token must not
lock the others out. So the limit bounds what bad tokens cost us; what keeps them from guessing is the token's length.
"""

import flask

from app.addresses import client_address, client_key
from app.auth import Gate
from app.problems import RateLimited, Unauthorized
from app.rate_table import RateTable
from app.settings import AppSettings


class Limits:
    """Judges every request before anything of its body is read. Made before the fork: all processes share its table."""

    def __init__(self, settings: AppSettings, gate: Gate) -> None:
        self._gate = gate
        self._trusted = settings.trusted_proxies
        limit = settings.rate_limit_per_minute
        self._table = RateTable(limit) if limit is not None else None

    def check(self) -> None:
        """Flask's `before_request`. Raises Unauthorized, Forbidden or RateLimited, and Unavailable when it takes the
        database to know a token.
        """
        request = flask.request
        # Nobody else's word counts, so nobody else's is looked for.
        forwarded = request.headers.getlist("X-Forwarded-For") if self._trusted else ()
        address = client_address(request.remote_addr, forwarded, self._trusted)
        flask.g.client = str(address)
        flask.g.address = client_key(address)
        verdict = self._gate.judge(request, flask.g.address)
        # Whoever watches us must not be shut out because clients ask too much: a probe let in is never limited.
        if self._table is not None and (verdict.refusal is not None or verdict.asked):
            wait = self._table.spend(verdict.bearer.client if verdict.bearer else flask.g.address)
            if wait:
                raise RateLimited(self._sentence(verdict.refusal, wait), wait)
        if verdict.refusal is not None:
            raise verdict.refusal

    def _sentence(self, refusal: Exception | None, wait: int) -> str:
        assert self._table is not None
        what = "requests without a known token" if isinstance(refusal, Unauthorized) else "requests"
        return f"more than {self._table.limit} {what} in a minute; come back in {wait} s"
