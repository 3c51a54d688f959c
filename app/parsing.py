"""How a request's body and query are read, with our rules for JSON (`workerpool.kinds.documents`) and our errors."""

import re
from typing import Any

import flask
import marshmallow
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from app.problems import BadRequest, Invalid, UnsupportedMediaType, field_messages
from workerpool.kinds import documents

_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)


def parse_json(body: bytes) -> Any:
    """The value of a JSON document. Raises BadRequest, whose message never repeats the document."""
    try:
        return documents.read(body)
    except documents.Unreadable as error:
        raise BadRequest(f"the body {error}") from error


def _whole_body(req: flask.Request) -> bytes:
    most: int = flask.current_app.config["MAX_BODY_BYTES"]
    said = req.content_length
    if said is not None and said > most:
        raise RequestEntityTooLarge
    try:
        # Straight from the server, which ends a body where it ends: werkzeug's streams around it took 25 µs.
        body: bytes = req.environ["wsgi.input"].read(most + 1 if said is None else said)
    except Exception as error:
        # The server's own, of its many kinds: a chunk without a size, a client that hung up.
        raise BadRequest("the body cannot be read to its end") from error
    if len(body) > most:
        raise RequestEntityTooLarge
    # gunicorn ends a body with its connection.
    if said is not None and len(body) < said:
        raise BadRequest("the body is shorter than its Content-Length")
    return body


class Parser(FlaskParser):
    """webargs' parser with our JSON, our errors, and no silence about what a query string holds."""

    DEFAULT_UNKNOWN_BY_LOCATION = {
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": marshmallow.RAISE,
        "querystring": marshmallow.RAISE,
    }

    def load_json(self, req: flask.Request, schema: marshmallow.Schema) -> Any:
        """The body. No body at all is `{}` where every field is optional, whatever its declared type."""
        body = _whole_body(req)
        if not body and not any(field.required for field in schema.fields.values()):
            return missing
        if not _JSON_TYPE.fullmatch(req.mimetype):
            raise UnsupportedMediaType("the body must be sent as Content-Type: application/json")
        if req.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType("the body must be UTF-8")
        if req.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("the body must be sent without Content-Encoding")
        value = parse_json(body)
        if not isinstance(value, dict):
            raise Invalid("body: must be a JSON object", details={"body": ["must be a JSON object"]})
        return value

    def load_querystring(self, req: flask.Request, schema: marshmallow.Schema) -> Any:
        """The query; a parameter given twice is refused, because only one could count."""
        twice = [name for name, values in req.args.lists() if len(values) > 1]
        if twice:
            raise Invalid.of({name: ["is given more than once"] for name in twice})
        return super().load_querystring(req, schema)

    def handle_error(self, error: marshmallow.ValidationError, *_: Any, **__: Any) -> Any:
        """Turns marshmallow's messages (already under their location's name) into our one shape."""
        assert isinstance(error.messages, dict)
        (messages,) = error.messages.values()
        raise Invalid.of(field_messages(messages)) from error


parser = Parser()
