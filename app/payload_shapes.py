"""The kinds' payloads as shapes of the OpenAPI document, which can be made whatever an author's schema holds."""

import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls
from marshmallow import Schema

from workerpool.kinds.registry import Registry

log = logging.getLogger(__name__)


class Names:
    """Names for shapes, none given twice: a kind's may hold a colon, a shape's may not, and `x:y` is not `x.y`."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, what: str, kind: str) -> str:
        """`what.kind`, numbered if that is taken."""
        wanted = f"{what}.{kind.replace(':', '.')}"
        name, number = wanted, 1
        while name in self._given:
            number += 1
            name = f"{wanted}.{number}"
        self._given.add(name)
        return name


def describe(kinds: Registry, names: Names, openapi_version: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """By kind, for those with a schema: the name of its payload's shape, and that with all shapes it refers to.

    One that cannot be described stands there as any JSON, and the log says why: the kind itself can be loaded.
    """
    found = {}
    for kind in kinds.names():
        payload = kinds.get(kind).payload
        if payload is not None:
            name = names.new("Payload", kind)
            try:
                found[kind] = name, _shapes(name, payload, names, openapi_version)
            except Exception as error:
                log.warning(
                    "kind %s: the OpenAPI document shows its payload as any JSON, its schema raised %s",
                    kind, type(error).__name__,
                )  # fmt: skip
                found[kind] = name, {name: {"description": "JSON of a shape that could not be described."}}
    return found


def _shapes(name: str, payload: type[Schema], names: Names, openapi_version: str) -> dict[str, Any]:
    # A document for each kind: in a common one two kinds of one schema, or two schemas of one name, get in each
    # other's way.
    def nested(schema: Any) -> str:
        return names.new(name, getattr(resolve_schema_cls(schema), "__name__", "Nested"))

    spec = APISpec("", "", openapi_version, plugins=[MarshmallowPlugin(schema_name_resolver=nested)])
    with warnings.catch_warnings():
        # About what the document cannot say of a field, a second pattern for one; who starts the service is not to act.
        warnings.simplefilter("ignore", UserWarning)
        spec.components.schema(name, schema=payload)
    shapes: dict[str, Any] = _plain(spec.to_dict()["components"]["schemas"])
    json.dumps(shapes, allow_nan=False)
    return shapes


def _plain(value: Any) -> Any:
    """As JSON can hold it; what it cannot, a default or a bound of any Python type, becomes a number or a text."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Decimal | float):
        number = float(value)
        return number if math.isfinite(number) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset | Iterator):
        return [_plain(each) for each in value]
    return str(value)
