"""Every refusal and every failure, from wherever it comes, as the one shape of the contract, through one handler.

gunicorn's own answers to malformed HTTP never reach us and are the one exception.
"""

import logging

import flask
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

import sql.errors
from app.problems import STATUSES, Internal, Invalid, Problem, Unavailable

log = logging.getLogger(__name__)

_SLUGS = {status: slug for slug, status in STATUSES.items()}
_SENTENCES = {
    "bad_request": "the request cannot be read",
    "not_found": "there is no such route",
    "method_not_allowed": "this route does not know that method",
}


def register(app: flask.Flask) -> None:
    """Makes `answer` the handler of everything that can be raised."""
    app.register_error_handler(Exception, answer)


def answer(error: Exception) -> flask.Response:
    """The response for anything raised while a request was answered."""
    problem = error if isinstance(error, Problem) else _problem_of(error)
    response = flask.jsonify(problem.body())
    response.status_code = problem.status
    response.headers.update(problem.headers)
    return response


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, HTTPException):
        return _of_framework(error)
    if isinstance(error, sql.errors.Rejected):
        log.warning("the database refused a value: %s", error, extra={"constraint": error.constraint})
        return Invalid("a value cannot be stored", details={"body": ["holds a value the database refuses"]})
    if isinstance(error, sql.errors.Unavailable | sql.errors.SchemaUnsupported):
        log.error("the database cannot serve: %s", error)
        return Unavailable("the database cannot serve now; try again")
    log.error("unexpected failure", exc_info=error)
    return Internal()


def _of_framework(error: HTTPException) -> Problem:
    status = error.code or 500
    if status >= 500:
        log.error("unexpected failure", exc_info=error)
        return Internal()
    if isinstance(error, RequestEntityTooLarge):
        limit = flask.current_app.config["MAX_BODY_BYTES"]
        return _framework_problem("payload_too_large", f"the body is larger than {limit} bytes", {})
    slug = _SLUGS.get(status, "bad_request")
    # 405 carries Allow; the rest of the framework's headers describe its HTML body.
    headers = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    return _framework_problem(slug, _SENTENCES.get(slug, slug.replace("_", " ")), headers)


def _framework_problem(slug: str, message: str, headers: dict[str, str]) -> Problem:
    problem = Problem(message, headers=headers)
    problem.slug = slug
    return problem
