"""What happens around every request: its name, its timing, its line in the log."""

import logging
import os
import re
import time

import flask

from app import metrics

log = logging.getLogger(__name__)

_GIVEN_ID = re.compile(r"[\x21-\x7e]{1,128}")


def begin() -> None:
    """Flask's `before_request`, the first: starts the clock and names the request."""
    flask.g.started = time.perf_counter()
    given = flask.request.headers.get("X-Request-Id", "")
    flask.g.request_id = given if _GIVEN_ID.fullmatch(given) else os.urandom(16).hex()


def finish(response: flask.Response) -> flask.Response:
    """Flask's `after_request`: shows the name, counts, and logs what was refused (all requests at debug)."""
    response.headers["X-Request-Id"] = flask.g.request_id
    seconds = time.perf_counter() - flask.g.started
    rule = flask.request.url_rule
    route = rule.rule if rule is not None else None
    metrics.count_request(flask.request.method, route, response.status_code, seconds)
    level = logging.INFO if response.status_code >= 400 else logging.DEBUG
    if log.isEnabledFor(level):
        log.log(
            level,
            "answered",
            extra={
                "method": flask.request.method,
                "route": route or "(unknown)",
                "status": response.status_code,
                "milliseconds": round(seconds * 1000, 1),
                "client": flask.g.get("client", flask.request.remote_addr),
            },
        )
    return response
