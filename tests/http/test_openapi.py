"""The OpenAPI document says what the routes do."""

import json
import re
from collections.abc import Callable
from typing import Any

import flask
import jsonschema_rs
import pytest
from flask.testing import FlaskClient
from support.access import UNLISTED, asked_by, template
from support.http import EXTERNAL

from app.auth import ADMIN
from app.problems import STATUSES
from sql.rows import Job, Status
from workerpool.kinds.requests import NewJobSchema

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/api-docs/openapi.json")
    assert (response.status_code, response.mimetype) == (200, "application/json")
    found: dict[str, Any] = response.get_json()
    return found


def resolved(document: dict[str, Any], node: Any) -> Any:
    """`node`, or what its $ref names."""
    while isinstance(node, dict) and "$ref" in node:
        reference, node = node["$ref"], document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    return node


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        inner = [found for value in node.values() for found in references(value)]
        return [*inner, node["$ref"]] if "$ref" in node else inner
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_it_is_openapi_3_1_and_every_reference_in_it_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    for reference in references(document):
        assert isinstance(resolved(document, {"$ref": reference}), dict), reference


def test_it_lists_every_route_and_no_other(client: FlaskClient, document: dict[str, Any]) -> None:
    routes = {
        (method, template(rule.rule))
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert set(operations(document)) == {route for route in routes if route[1] not in UNLISTED}


def test_every_answer_is_described_with_its_shape_and_its_headers(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        assert {int(status) for status in operation["responses"]} >= {500}
        for status, response in operation["responses"].items():
            response = resolved(document, response)
            assert "X-Request-Id" in response["headers"], operation
            assert ("content" in response) == (status != "204")
            if int(status) >= 400:
                shape = resolved(document, response["content"]["application/json"]["schema"])
                assert shape["required"] == ["error", "message"]
                assert set(shape["properties"]["error"]["enum"]) == set(STATUSES)
            assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))
            assert ("WWW-Authenticate" in response["headers"]) == (status == "401")


def test_every_route_that_reads_a_body_says_how_that_can_fail(document: dict[str, Any]) -> None:
    reading = {route for route, operation in operations(document).items() if "requestBody" in operation}
    assert reading == {route for route in operations(document) if route[0] == "POST"}
    for route in reading:
        assert operations(document)[route]["responses"].keys() >= {"400", "413", "415", "422"}
    required = {path for method, path in reading if operations(document)[method, path]["requestBody"]["required"]}
    assert required == {
        "/jobs", "/jobs/bulk", "/v1/jobs", "/v1/lease", "/v1/jobs/{job_id}/fail", "/v1/jobs/{job_id}/heartbeat",
    }  # fmt: skip


def test_a_job_is_described_with_all_its_fields_in_order(document: dict[str, Any]) -> None:
    shape = document["components"]["schemas"]["Job"]
    assert list(shape["properties"]) == list(Job._fields)
    assert sorted(shape["required"]) == sorted(Job._fields)
    assert shape["properties"]["status"]["enum"] == list(Status)


def test_every_registered_kind_is_offered_with_its_payload(client: FlaskClient, document: dict[str, Any]) -> None:
    offered = document["components"]["schemas"]["NewJob"]
    kinds = client.application.extensions["windlass"].rules.kinds
    assert tuple(offered["discriminator"]["mapping"]) == kinds.names()
    assert len(offered["oneOf"]) == len(kinds.names())
    (asked,) = [each for each in document["paths"]["/jobs"]["get"]["parameters"] if each["name"] == "kind"]
    assert asked["schema"]["enum"] == list(kinds.names())
    for name in kinds.names():
        shape = resolved(document, {"$ref": offered["discriminator"]["mapping"][name]})
        assert shape["properties"]["kind"] == {"type": "string", "const": name}
        assert set(shape["properties"]) == set(NewJobSchema().fields)
        assert shape["additionalProperties"] is False
        schema = kinds.get(name).payload
        if schema is not None:
            payload = resolved(document, shape["properties"]["payload"])
            assert set(payload["properties"]) == set(schema().fields)


def test_a_bulk_holds_the_same_shapes(document: dict[str, Any]) -> None:
    jobs = document["components"]["schemas"]["Bulk"]["properties"]["jobs"]
    assert (jobs["items"]["anyOf"][0], jobs["maxItems"]) == ({"$ref": "#/components/schemas/NewJob"}, 1000)


def test_patterns_mean_in_it_what_they_mean_here(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    patterns = set(re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', text))
    assert patterns
    for pattern in map(json.loads, patterns):
        # Of Python's own dialect nothing, and anchored at both ends.
        assert re.fullmatch(r"\^.*\$", pattern), pattern
        assert not re.search(r"\\[ZAz]|\(\?[^:=!]", pattern), pattern


@pytest.mark.parametrize("tokens", [{}, {"api_token": "a", "admin_token": "b"}])
def test_it_says_which_routes_ask_for_which_token(make_app: Callable[..., flask.Flask], tokens: dict[str, str]) -> None:
    document = make_app(**tokens).test_client().get("/api-docs/openapi.json").get_json()
    anonymous: list[dict[str, list[str]]] = [] if tokens else [{}]
    for (method, path), operation in operations(document).items():
        asked = asked_by(method, path)
        if asked:
            of_clients = [] if asked == ADMIN else [{"ApiToken": []}]
            assert operation["security"] == [*anonymous, *of_clients, {"AdminToken": []}, {"Token": sorted(asked)}]
            assert operation["responses"].keys() >= {"401", "403", "429", "503"}
        else:
            assert "security" not in operation
            assert not operation["responses"].keys() & {"401", "429"}


def test_every_answer_met_is_one_it_describes(client: FlaskClient, document: dict[str, Any]) -> None:
    job = client.post("/jobs", json={**EXTERNAL, "idempotency_key": "k"}).get_json()["id"]
    asked: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "/jobs", {"json": EXTERNAL}, 201),
        ("POST", "/jobs", {"json": {**EXTERNAL, "idempotency_key": "k"}}, 200),
        ("POST", "/jobs", {"json": {**EXTERNAL, "idempotency_key": "k", "priority": 1}}, 409),
        ("POST", "/jobs", {"json": {}}, 422),
        ("POST", "/jobs", {"data": b"{", "content_type": "application/json"}, 400),
        ("POST", "/jobs", {"data": b"{}"}, 415),
        ("POST", "/jobs", {"data": b" " * (1024 * 1024 + 1), "content_type": "application/json"}, 413),
        ("POST", "/jobs/bulk", {"json": {"jobs": [EXTERNAL, {}, {**EXTERNAL, "idempotency_key": "k"}]}}, 200),
        ("POST", "/jobs/bulk", {"json": {"jobs": 1}}, 422),
        ("GET", "/jobs", {}, 200),
        ("GET", "/jobs?limit=1", {}, 200),
        ("GET", "/jobs?limit=x", {}, 422),
        ("GET", f"/jobs/{job}", {}, 200),
        ("GET", f"/jobs/{UNKNOWN}", {}, 404),
        ("POST", f"/jobs/{job}/cancel", {}, 200),
        ("POST", f"/jobs/{job}/cancel", {}, 409),
        ("POST", f"/jobs/{UNKNOWN}/cancel", {}, 404),
        ("POST", f"/jobs/{job}/retry", {"json": {}}, 200),
        ("POST", f"/jobs/{job}/retry", {"json": {"x": 1}}, 422),
        ("GET", "/v1/admin/queues", {}, 200),
        ("GET", "/v1/admin/queues/default/depth", {}, 200),
        ("GET", "/v1/admin/queues/a%20b/depth", {}, 422),
        ("GET", "/v1/admin/queues/default/dead", {}, 200),
        ("POST", f"/v1/admin/jobs/{job}/requeue", {}, 409),
        ("POST", f"/v1/admin/jobs/{UNKNOWN}/requeue", {}, 404),
        ("POST", "/v1/admin/queues/default/redrive", {}, 200),
        ("POST", "/v1/admin/queues/default/pause", {}, 204),
        ("POST", "/v1/admin/queues/default/resume", {}, 204),
        ("GET", "/health", {}, 200),
        ("GET", "/healthz", {}, 200),
        ("GET", "/metrics", {}, 200),
    ]
    for method, path, sent, status in asked:
        check_answer(client, document, method, path, sent, status)


def test_every_answer_about_a_lease_or_a_dead_letter_is_one_it_describes(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    def post(path: str, status: int, **body: Any) -> Any:
        return check_answer(client, document, "POST", f"/v1/{path}", {"json": body} if body else {}, status)

    new = {"queue": "q", "payload": {"n": 1}, "idempotency_key": "lease"}
    job_id = post("jobs", 200, **new).get_json()["job_id"]
    post("jobs", 409, **new, priority=1)
    post("jobs", 422, **new, kind="nope")
    post("lease", 200, queue="empty", limit=1, lease_ms=1000)
    post("lease", 422, queue="q")
    (lease,) = post("lease", 200, queue="q", limit=1, lease_ms=60_000).get_json()["jobs"]
    assert list(lease) == list(resolved(document, {"$ref": "#/components/schemas/Lease"})["properties"])
    assert set(resolved(document, {"$ref": "#/components/schemas/Lease"})["required"]) == set(lease)
    post(f"jobs/{job_id}/heartbeat", 204, extend_ms=60_000)
    client.post(f"/jobs/{job_id}/cancel")
    assert "Windlass-Cancel-Requested" in post(f"jobs/{job_id}/heartbeat", 204, extend_ms=60_000).headers
    post(f"jobs/{job_id}/heartbeat", 422, extend_ms=1)
    post(f"jobs/{job_id}/fail", 204, reason="no", permanent=True)
    post(f"jobs/{job_id}/fail", 409, reason="no")
    (dead,) = check_answer(client, document, "GET", "/v1/admin/queues/q/dead", {}, 200).get_json()["jobs"]
    assert list(dead) == list(resolved(document, {"$ref": "#/components/schemas/DeadJob"})["properties"])
    for verb in ("ack", "release"):
        post(f"jobs/{job_id}/{verb}", 409)
        post(f"jobs/{UNKNOWN}/{verb}", 404)
        post(f"jobs/{job_id}/{verb}", 422, lease_token=1)


def test_the_kinds_a_lease_job_can_have_are_listed(client: FlaskClient, document: dict[str, Any]) -> None:
    kinds = client.application.extensions["windlass"].rules.kinds
    shape = document["components"]["schemas"]["NewLeasableJob"]["properties"]["kind"]
    assert shape["enum"] == [*kinds.names(), None]


def check_answer(
    client: FlaskClient, document: dict[str, Any], method: str, path: str, sent: dict[str, Any], status: int
) -> Any:
    """Asks, and holds the answer against the document; the answer."""
    response = client.open(path, method=method, **sent)
    assert response.status_code == status, response.text
    route = re.sub(r"/[0-9a-f-]{36}", "/{job_id}", path.partition("?")[0])
    route = re.sub(r"/queues/[^/]+", "/queues/{queue}", route)
    described = resolved(document, operations(document)[method, route]["responses"][str(status)])
    ours = {name for name, _ in response.headers} - {"Content-Type", "Content-Length"}
    assert ours <= set(described["headers"]), (method, path, ours)
    required = {name for name, node in described["headers"].items() if resolved(document, node).get("required")}
    assert required <= ours
    if status == 204:
        assert (response.data, "Content-Type" in response.headers) == (b"", False)
    else:
        shape = {**document, **described["content"][response.mimetype]["schema"]}
        value = response.get_json() if response.is_json else response.text
        jsonschema_rs.Draft202012Validator(shape, validate_formats=True).validate(value)
    return response
