"""One error shape, wherever the error comes from, and nothing in it that is nobody's business."""

from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.http import EXTERNAL, check_error

from app.errors import answer
from app.problems import STATUSES
from sql.connection import Connection

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"])
@pytest.mark.parametrize(
    "path", ["/", "/nope", "//jobs", "/jobs/", "/JOBS", "/jobs/bulk/x", "/health/", "/docs/assets/", "*"]
)
def test_an_unknown_route_is_not_found(refused: FlaskClient, method: str, path: str) -> None:
    response = refused.open(path, method=method)
    if method == "HEAD":
        assert (response.status_code, response.data) == (404, b"")
    else:
        check_error(response, "not_found")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/jobs", {"GET", "HEAD", "POST"}),
        ("/jobs/bulk", {"POST"}),
        (f"/jobs/{UNKNOWN}", {"GET", "HEAD"}),
        (f"/jobs/{UNKNOWN}/cancel", {"POST"}),
        (f"/jobs/{UNKNOWN}/retry", {"POST"}),
        ("/health", {"GET", "HEAD"}),
        ("/healthz", {"GET", "HEAD"}),
        ("/metrics", {"GET", "HEAD"}),
        ("/docs", {"GET", "HEAD"}),
        ("/swagger-ui", {"GET", "HEAD"}),
        ("/api-docs/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(refused: FlaskClient, path: str, known: set[str]) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - known:
        response = refused.open(path, method=method)
        assert response.status_code == 405
        assert set(response.headers["Allow"].split(", ")) == known
        if method != "HEAD":
            check_error(response, "method_not_allowed")


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "json", "application/jsonx", "application/json, text/plain", "application/json; charset=latin-1", "\u00e9"],
)  # fmt: skip
def test_a_body_that_is_not_called_json_is_refused(refused: FlaskClient, content_type: str | None) -> None:
    response = refused.post("/jobs", data=b'{"kind":"external","payload":1}', content_type=content_type)
    check_error(response, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
     "application/vnd.example+json", "application/json; version=1"],
)  # fmt: skip
def test_every_spelling_of_json_is_read(client: FlaskClient, content_type: str) -> None:
    response = client.post("/jobs", data=b'{"kind":"external","payload":1}', content_type=content_type)
    assert response.status_code == 201, response.text


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_compressed_body_is_refused_and_never_unpacked(refused: FlaskClient, encoding: str) -> None:
    response = refused.post(
        "/jobs", data=b"\x1f\x8b", content_type="application/json", headers={"Content-Encoding": encoding}
    )
    check_error(response, "unsupported_media_type")


def test_an_empty_body_is_read_as_json_where_fields_are_required(refused: FlaskClient) -> None:
    check_error(refused.post("/jobs"), "unsupported_media_type")
    check_error(refused.post("/jobs", content_type="application/json"), "bad_request")


def test_a_body_may_be_as_large_as_the_limit_and_not_larger(make_app: Callable[..., flask.Flask]) -> None:
    client = make_app(max_body_bytes=2000).test_client()
    frame = b'{"kind":"external","payload":"%s"}'
    fits = frame % (b"x" * (2000 - len(frame % b"")))
    assert client.post("/jobs", data=fits, content_type="application/json").status_code == 201
    for path in ("/jobs", "/jobs/bulk", f"/jobs/{UNKNOWN}/cancel"):
        body = check_error(client.post(path, data=fits + b" ", content_type="application/json"), "payload_too_large")
        assert "2000" in body["message"]


def test_the_default_limit_is_one_mebibyte(client: FlaskClient) -> None:
    def body(size: int) -> dict[str, Any]:
        frame = b'{"kind":"external","payload":"%s"}'
        return {"data": frame % (b"x" * (size - len(frame % b""))), "content_type": "application/json"}

    assert client.post("/jobs", **body(1024 * 1024)).status_code == 201
    check_error(client.post("/jobs", **body(1024 * 1024 + 1)), "payload_too_large")


def test_a_defect_of_ours_is_internal_and_says_nothing(
    make_app: Callable[..., flask.Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/broken")
    def broken() -> str:
        raise LookupError("the secret detail")

    response = app.test_client().get("/broken", headers={"X-Request-Id": "r-1"})
    assert check_error(response, "internal") == {"error": "internal", "message": "internal server error"}
    assert response.headers["X-Request-Id"] == "r-1"
    assert "LookupError: the secret detail" in caplog.text


def test_a_database_that_answers_nonsense_is_a_defect_of_ours(
    client: FlaskClient, owner: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    owner.execute("alter view windlass.job_reading rename column queue to lane")
    owner.execute("drop function windlass.rfc3339 cascade")
    check_error(client.get("/jobs"), "unavailable")
    assert "windlass migrate" in caplog.text


@pytest.mark.parametrize("slug", STATUSES)
def test_every_slug_has_one_status(make_app: Callable[..., flask.Flask], slug: str) -> None:
    from app.problems import Problem

    problem = Problem("text", details={"a": ["b"]} if slug == "validation" else None)
    problem.slug = slug
    with make_app().test_request_context():
        response = answer(problem)
    assert (response.status_code, response.get_json()["error"]) == (STATUSES[slug], slug)


def test_a_refusal_repeats_no_more_of_the_request_than_a_name(refused: FlaskClient) -> None:
    long = "s3cret" * 1000
    for request in (
        {"json": {**EXTERNAL, "queue": long}},
        {"json": {**EXTERNAL, "kind": long}},
        {"json": {**EXTERNAL, "payload": {long: 1}, "priority": long}},
        {"data": long.encode(), "content_type": "application/json"},
    ):
        response = refused.post("/jobs", **request)  # type: ignore[arg-type]
        assert response.status_code in (400, 422)
        assert "s3cret" not in response.text
    assert len(refused.get(f"/{long}").data) < 200


def test_an_unknown_field_of_any_length_makes_a_short_answer(refused: FlaskClient) -> None:
    response = refused.post("/jobs", json={**EXTERNAL, **{f"{n}{'x' * 200}": 1 for n in range(3000)}})
    check_error(response, "validation")
    assert len(response.data) < 20_000
