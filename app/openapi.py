"""The OpenAPI document: made from the routes and their shapes, then completed with what holds for every route."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar, cast

import flask
import flask_smorest
from apispec.ext.marshmallow import MarshmallowPlugin
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import Schema

from app import errors, payload_shapes
from app.auth import CLIENT, Gate, Scopes, scopes_of
from app.parsing import parser
from app.problems import STATUSES
from app.schemas.answers import ErrorSchema
from app.schemas.fields import Clamped, Number
from sql import __version__
from workerpool.kinds.fields import Time
from workerpool.kinds.registry import Registry

View = TypeVar("View", bound=Callable[..., Any])

OPENAPI_VERSION = "3.1.0"
_SLUGS = {status: slug for slug, status in STATUSES.items()}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The request's own, or one made for it; it is in every log line about the request.",
        "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,128}$"},
    },
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
    "Allow": {"required": True, "schema": {"type": "string"}},
    "Age": {
        "description": "How many seconds ago this was counted; absent if just now.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Link": {
        "description": 'The next page, `<…?cursor=…>; rel="next"`; absent on the last. A page ends at `limit`, or'
        " sooner where the jobs come to 16 MiB.",
        "schema": {"type": "string"},
    },
    "Windlass-Cancel-Requested": {
        "description": "`true` when the job is to be cancelled: its holder stops and releases it.",
        "schema": {"type": "string", "const": "true"},
    },
    "Location": {"description": "Where the job can be read.", "schema": {"type": "string"}},
}
_TOKENS = {
    "ApiToken": "API_TOKEN: enqueue, read and work",
    "AdminToken": "ADMIN_TOKEN: good for every route",
    "Token": "A token of `windlass token create` that has the scope named, or admin",
}
_HEADERS_OF_ERROR = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
# What reading a body can end with, before the route's own rules.
_BODY_ERRORS = (400, 413, 415, 422)
_DESCRIPTION = """\
Jobs live in PostgreSQL; a pool of processes runs them. Every refusal and every failure, of any route, has the shape of
`Error`. Bodies are UTF-8 JSON. Refused are unknown fields, numbers that cannot be read back, `\\u0000` and halves of
surrogate pairs in any text, and more than 64 levels of nesting; of a name given twice in one object the last counts.
Numbers and the order of names come back as PostgreSQL's jsonb keeps them.
"""


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """flask-smorest's, with our parser, and typed."""

    ARGUMENTS_PARSER = parser

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Registers a view and its documentation."""
        return cast(Callable[[View], View], super().route(rule, **options))

    def arguments(self, schema: Schema, **options: Any) -> Callable[[View], View]:
        """The body (or another `location`), loaded by `schema`, becomes the view's first argument."""
        return cast(Callable[[View], View], super().arguments(schema, **options))

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Documents the answer of a successful request. Our views build the answer themselves."""
        return cast(Callable[[View], View], super().response(status_code, schema, **options))

    def alt_response(self, status_code: int, response: str | None = None, **options: Any) -> Callable[[View], View]:
        """Documents another answer."""
        return cast(Callable[[View], View], super().alt_response(status_code, response, **options))

    def parameters(self, *parameters: dict[str, Any]) -> Callable[[View], View]:
        """Documents parameters that no schema describes."""
        return cast(Callable[[View], View], self.doc(parameters=list(parameters)))


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest's, with our one error handler and our error shape."""

    ERROR_SCHEMA = ErrorSchema
    # Each operation lists the errors it can answer with; none is hidden behind "default".
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: Exception) -> flask.Response:
        """The framework's own refusals."""
        return errors.answer(error)


def create_api(app: flask.Flask) -> Api:
    """The collector of routes and shapes; blueprints register with it."""
    app.config.update(
        API_TITLE="Windlass",
        API_VERSION=__version__,
        OPENAPI_VERSION=OPENAPI_VERSION,
        API_SPEC_OPTIONS={
            "info": {"description": _DESCRIPTION},
            # a relative server: the document is true whatever name it was fetched under
            "servers": [{"url": "/"}],
        },
    )
    plugin = MarshmallowPlugin()
    api = Api(app, spec_kwargs={"marshmallow_plugin": plugin})
    api.register_field(Time, "string", "date-time")
    api.register_field(Number, "integer", None)
    api.register_field(Clamped, "integer", None)
    for status in STATUSES.values():
        api.spec.components.response(_response_name(status), _error_response(status))
    for name, described in _TOKENS.items():
        api.spec.components.security_scheme(name, {"type": "http", "scheme": "bearer", "description": described})
    for name, header in _HEADERS.items():
        api.spec.components.header(name, header)
    return api


def answers(*statuses: int) -> Callable[[View], View]:
    """Documents that a route may also answer with these errors."""
    return cast(Callable[[View], View], Blueprint.doc(responses={str(each): _response_name(each) for each in statuses}))


def header(name: str) -> dict[str, Any]:
    """A header of ours, for a route's `response(headers=…)`."""
    return {name: {"$ref": f"#/components/headers/{name}"}}


def document(app: flask.Flask, api: Api, gate: Gate, kinds: Registry) -> dict[str, Any]:
    """The whole document, of all routes registered so far and the given kinds."""
    whole: dict[str, Any] = api.spec.to_dict()
    for rule in app.url_map.iter_rules():
        operations = whole["paths"].get(FlaskPlugin.flaskpath2openapi(rule.rule), {})
        asked = scopes_of(app.view_functions[rule.endpoint])
        for method, operation in operations.items():
            if method.upper() in (rule.methods or ()):
                _complete(operation, asked, gate)
    schemas = whole["components"]["schemas"]
    _offer_kinds(schemas, kinds)
    for parameter in whole["paths"]["/jobs"]["get"]["parameters"]:
        if parameter["name"] == "kind":
            parameter["schema"] = {"type": "string", "enum": list(kinds.names())}
    # flask-smorest's own, which nothing here refers to.
    schemas.pop("PaginationMetadata", None)
    ours = {_response_name(status) for status in STATUSES.values()}
    whole["components"]["responses"] = {n: r for n, r in whole["components"]["responses"].items() if n in ours}
    return whole


def _response_name(status: int) -> str:
    # Not the standard library's: its names change between versions of Python.
    return _SLUGS[status].title().replace("_", "")


def _error_response(status: int) -> dict[str, Any]:
    headers = header("X-Request-Id")
    if status in _HEADERS_OF_ERROR:
        headers |= header(_HEADERS_OF_ERROR[status])
    return {
        "description": _SLUGS[status].replace("_", " ").capitalize(),
        "content": {"application/json": {"schema": ErrorSchema}},
        "headers": headers,
    }


def _complete(operation: dict[str, Any], asked: Scopes, gate: Gate) -> None:
    statuses = {500}
    if "requestBody" in operation:
        statuses.update(_BODY_ERRORS)
    needed = gate.needs_token(asked)
    if asked or needed:
        # 503: it may take the database to know a token.
        statuses.update((401, 403, 429, 503) if asked else (401, 429, 503))
        tokens: list[dict[str, list[str]]] = [{"AdminToken": []}, {"Token": sorted(asked)}]
        if not asked or asked & CLIENT:
            tokens.insert(0, {"ApiToken": []})
        operation["security"] = tokens if needed else [{}, *tokens]
    responses = operation["responses"]
    # flask-smorest adds a 422 of its own wherever something is parsed.
    statuses.update(int(status) for status in responses if int(status) >= 400)
    for status in statuses:
        responses[str(status)] = {"$ref": f"#/components/responses/{_response_name(status)}"}
    for response in responses.values():
        if "$ref" not in response:
            response["headers"] = header("X-Request-Id") | response.get("headers", {})
    operation["responses"] = dict(sorted(responses.items()))


def _offer_kinds(schemas: dict[str, Any], kinds: Registry) -> None:
    """Makes `NewJob` one shape per registered kind, told apart by `kind`."""
    names = payload_shapes.Names()
    payloads = payload_shapes.describe(kinds, names, OPENAPI_VERSION)
    plain = schemas["NewJob"]
    mapping = {}
    for name in kinds.names():
        shape = deepcopy(plain)
        described = plain["properties"]["payload"].get("description", "")
        shape["properties"]["kind"] = {"type": "string", "const": name}
        if name in payloads:
            component, shapes = payloads[name]
            schemas.update(shapes)
            shape["properties"]["payload"] = {"$ref": f"#/components/schemas/{component}"}
        else:
            shape["properties"]["payload"] = {"description": f"{described} Any JSON."}
        component = names.new("NewJob", name)
        schemas[component] = shape
        mapping[name] = f"#/components/schemas/{component}"
    schemas["NewLeasableJob"]["properties"]["kind"]["enum"] = [*kinds.names(), None]
    # Anything is taken as an item: what is no job is refused in its own result, not with the whole.
    schemas["Bulk"]["properties"]["jobs"]["items"] = {"anyOf": [{"$ref": "#/components/schemas/NewJob"}, {}]}
    schemas["NewJob"] = {
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "kind", "mapping": mapping},
    }
