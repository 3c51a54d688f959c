"""A kind whose own schema fails refuses its payloads as any other does; nobody else notices."""

from collections.abc import Callable
from typing import Any, NoReturn

import flask
import pytest
from flask.testing import FlaskClient
from marshmallow import Schema, pre_load
from support.http import EXTERNAL, check_error

from workerpool import kind

TOUCHY = {"kind": "touchy", "payload": {"secret": "s3cr3t"}}
SAID = "could not be checked: the schema of this kind raised LookupError"


class Touchy(Schema):
    @pre_load
    def touch(self, data: dict[str, Any], **_: Any) -> NoReturn:
        raise LookupError(f"no {data}")


@pytest.fixture
def client(make_app: Callable[..., flask.Flask], own_kinds: None) -> FlaskClient:  # noqa: ARG001
    kind("touchy", payload=Touchy)(lambda _payload, _context: None)
    return make_app().test_client()


@pytest.mark.parametrize("path", ["/jobs", "/v1/jobs"])
def test_the_payload_is_refused_and_not_repeated(client: FlaskClient, path: str) -> None:
    body = check_error(client.post(path, json=TOUCHY | ({"queue": "q"} if path == "/v1/jobs" else {})), "validation")
    assert body["details"] == {"payload": [SAID]}
    assert "s3cr3t" not in str(body)


def test_its_neighbours_in_a_bulk_are_taken(client: FlaskClient) -> None:
    results = client.post("/jobs/bulk", json={"jobs": [EXTERNAL, TOUCHY, EXTERNAL]}).get_json()["results"]
    assert [result["status"] for result in results] == [201, 422, 201]
    assert results[1]["details"] == {"payload": [SAID]}
