"""The OpenAPI document can be made of whatever kinds can be loaded, and tells them apart."""

import json
import logging
import warnings
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import flask
import pytest
from marshmallow import Schema, fields, validate

from workerpool import kind


class Colour(Enum):
    RED = "red"


class JobSchema(Schema):
    """Named as a shape of the service's own."""

    mine = fields.Integer()


class Exotic(Schema):
    job = fields.Nested(JobSchema)
    same = fields.List(fields.Nested(JobSchema(only=("mine",))))
    itself = fields.Nested(lambda: Exotic())
    price = fields.Decimal(load_default=Decimal("1.5"))
    most = fields.Float(load_default=float("inf"), validate=validate.Range(max=Decimal(5)))
    at = fields.DateTime(load_default=datetime(2020, 1, 1), metadata={"example": datetime(2021, 1, 1)})
    colour = fields.Enum(Colour, load_default=Colour.RED, metadata={"examples": (Colour.RED,)})
    coded = fields.String(validate=[validate.Regexp("^a"), validate.Regexp("b$")])


class Other(Schema):
    b = fields.String(required=True)


class Misdescribed(Schema):
    # Its handler gets the text as it stands here; the document cannot say it.
    at = fields.DateTime(load_default="2020-01-01")


@pytest.fixture
def document_of(
    make_app: Callable[..., flask.Flask],
    own_kinds: None,  # noqa: ARG001
) -> Callable[..., dict[str, Any]]:
    """The document of a service that has these kinds too, made without a warning."""

    def made(**kinds: type[Schema]) -> dict[str, Any]:
        for name, payload in kinds.items():
            kind(name, payload=payload)(lambda _payload, _context: None)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = make_app().test_client().get("/api-docs/openapi.json").get_data(as_text=True)
        document: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
        return document

    return made


def payload_of(document: dict[str, Any], kind: str) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    offered = schemas[schemas["NewJob"]["discriminator"]["mapping"][kind].rpartition("/")[2]]
    assert offered["properties"]["kind"]["const"] == kind
    found: dict[str, Any] = schemas[offered["properties"]["payload"]["$ref"].rpartition("/")[2]]
    return found


def inner(document: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][shape["$ref"].rpartition("/")[2]]
    return found


def test_kinds_whose_names_differ_by_a_colon_have_shapes_of_their_own(
    document_of: Callable[..., dict[str, Any]],
) -> None:
    document = document_of(**{"x.y": Other, "x:y": Exotic, "x.y.2": JobSchema, "x:y:2": Other})
    assert set(payload_of(document, "x.y")["properties"]) == {"b"}
    assert set(payload_of(document, "x:y")["properties"]) == set(Exotic().fields)
    assert set(payload_of(document, "x.y.2")["properties"]) == {"mine"}
    assert set(payload_of(document, "x:y:2")["properties"]) == {"b"}


def test_kinds_may_share_a_schema_and_one_may_be_named_as_ours(document_of: Callable[..., dict[str, Any]]) -> None:
    document = document_of(one=Exotic, two=Exotic, three=JobSchema)
    assert "finished_at" in document["components"]["schemas"]["Job"]["properties"]
    for name in ("one", "two"):
        shape = payload_of(document, name)["properties"]
        assert set(inner(document, shape["job"])["properties"]) == {"mine"}
        assert set(inner(document, shape["same"]["items"])["properties"]) == {"mine"}
        assert set(inner(document, shape["itself"])["properties"]) == set(Exotic().fields)
    assert set(payload_of(document, "three")["properties"]) == {"mine"}


def test_defaults_and_bounds_of_any_type_are_shown_as_json(document_of: Callable[..., dict[str, Any]]) -> None:
    shape = payload_of(document_of(exotic=Exotic), "exotic")["properties"]
    assert shape["price"]["default"] == 1.5
    assert (shape["most"]["default"], shape["most"]["maximum"]) == ("inf", 5.0)
    assert (shape["at"]["default"], shape["at"]["example"]) == ("2020-01-01T00:00:00", "2021-01-01 00:00:00")
    assert (shape["colour"]["default"], shape["colour"]["examples"]) == ("RED", ["red"])


def test_a_payload_that_cannot_be_described_is_any_json_and_the_log_says_so(
    document_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        document = document_of(odd=Misdescribed, fine=Other)
    assert list(payload_of(document, "odd")) == ["description"]
    assert set(payload_of(document, "fine")["properties"]) == {"b"}
    [said] = [record.getMessage() for record in caplog.records if record.name == "app.payload_shapes"]
    assert said.startswith("kind odd: the OpenAPI document shows its payload as any JSON, its schema raised ")
