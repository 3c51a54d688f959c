"""What JSON we accept: checked once, here, because PostgreSQL stores things that Python cannot read back.

Strict UTF-8 and RFC 8259 (no NaN, no Infinity), and beyond it: finite numbers, integers of at most 4,300 digits
(Python's own limit), no NUL and no lone surrogate in any text, at most 64 levels, and numbers that stay within 1 MiB
when written out as PostgreSQL does. Of a name given twice in one object the last counts.
"""

import json
import math
import re
from typing import Any

import flask
import marshmallow
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.problems import BadRequest, Invalid, UnsupportedMediaType, field_messages

MAX_DEPTH = 64
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)
# An escaped backslash before it would make it plain text, so the backslashes are taken in pairs.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# 1e308 is five bytes here and 309 digits in jsonb: without a limit one small body fills the memory of whoever lists it.
_MAX_WRITTEN_OUT = 1024 * 1024


def parse_json(body: bytes) -> Any:
    """The value of a JSON document. Raises BadRequest, whose message never repeats the document."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} does not fit") from error
    numbers = _Numbers()
    try:
        value = json.loads(text, parse_float=numbers.parse_float, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise BadRequest(_TOO_DEEP) from error
    except ValueError as error:
        raise BadRequest("the body holds an integer of more than 4,300 digits") from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text:
        _check_escapes(text, value)
    return value


class _Numbers:
    """Reads the numbers with a fraction or an exponent, and adds up what they take when written out."""

    def __init__(self) -> None:
        self._written_out = 0

    def parse_float(self, text: str) -> float:
        value = float(text)
        size = abs(value)
        if 1e-4 <= size < 1e16 or size == 0:
            return value
        if size == math.inf:
            raise BadRequest("the body holds a number beyond 1.8e308, which cannot be read back")
        self._written_out += int(abs(math.log10(size)))
        if self._written_out > _MAX_WRITTEN_OUT:
            raise BadRequest("the body holds more numbers with large exponents than can be stored")
        return value


def _refuse_constant(name: str) -> None:
    raise BadRequest(f"the body holds {name}, which is not JSON")


_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH} levels"


def _check_depth(value: Any) -> None:
    # Level by level, not by recursion, and stopping at the limit: what the parser accepts may be 900 deep.
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            if type(container) is dict:
                inner.extend(container.values())
            elif type(container) is list:
                inner.extend(container)
        level = [child for child in inner if type(child) is dict or type(child) is list]
        if not level:
            return
    raise BadRequest(_TOO_DEEP)


def _check_escapes(text: str, value: Any) -> None:
    if "\\u0000" in text and _NUL.search(text):
        raise BadRequest("the body holds \\u0000 in a text, which cannot be stored")
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRequest("the body holds half of a surrogate pair in a text, which cannot be stored") from error


def _whole_body(req: flask.Request) -> bytes:
    try:
        body = req.get_data()
    except HTTPException:
        raise
    except Exception as error:
        # The server's own, of its many kinds: a chunk without a size, a client that hung up.
        raise BadRequest("the body cannot be read to its end") from error
    # werkzeug reads a chunked body up to its limit and then takes it for whole, and gunicorn ends a body with its
    # connection: so its limit is one byte more than ours, and the length is compared.
    if len(body) > flask.current_app.config["MAX_BODY_BYTES"]:
        raise RequestEntityTooLarge
    if req.content_length is not None and len(body) < req.content_length:
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
