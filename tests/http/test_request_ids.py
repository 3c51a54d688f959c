"""Every answer names its request, and so does every line of the log about it."""

import logging
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from support.web import Web


@pytest.mark.parametrize("path", ["/jobs", "/healthz", "/nope", "/docs", "/metrics"])
def test_a_request_without_a_name_gets_one(refused: FlaskClient, path: str) -> None:
    names = {refused.get(path).headers["X-Request-Id"] for _ in range(3)}
    assert len(names) == 3
    assert all(len(name) == 32 for name in names)


@pytest.mark.parametrize("name", ["a", "req-1/2:3", "~" * 128, "!\"#$%&'()*,", "0"])
def test_a_good_name_is_kept(refused: FlaskClient, name: str) -> None:
    for path in ("/jobs", "/nope"):
        assert refused.get(path, headers={"X-Request-Id": name}).headers["X-Request-Id"] == name


@pytest.mark.parametrize("name", ["", "a b", "a\tb", "\u00e9", "x" * 129, "a\x7f", "a\x1b[31m"])
def test_a_bad_name_is_replaced(refused: FlaskClient, name: str) -> None:
    shown = refused.get("/healthz", headers={"X-Request-Id": name}).headers["X-Request-Id"]
    assert shown != name
    assert shown.isalnum()


def test_the_log_of_a_request_carries_its_name(start_web: Callable[..., Web]) -> None:
    web = start_web(LOG_LEVEL="debug")
    web.request("GET", "/jobs/1", headers={"X-Request-Id": "find-me"})
    web.request("GET", "/healthz", headers={"X-Request-Id": "also-me"})
    lines = {line["request_id"]: line for line in web.log_lines() if line["request_id"]}
    assert lines["find-me"] | {"milliseconds": 0, "timestamp": 0} == {
        "levelname": "INFO", "name": "app.requests", "message": "answered", "request_id": "find-me", "process": "web",
        "timestamp": 0, "method": "GET", "route": "(unknown)", "status": 404, "milliseconds": 0, "client": "127.0.0.1",
    }  # fmt: skip
    assert lines["also-me"]["levelname"] == "DEBUG"


def test_no_query_no_payload_and_no_token_is_logged(start_web: Callable[..., Web]) -> None:
    canary = "c4n4ry"
    web = start_web(LOG_LEVEL="debug", API_TOKEN=f"api-{canary}", ADMIN_TOKEN=f"admin-{canary}")
    for token in (f"api-{canary}", f"wrong-{canary}", f"admin-{canary}"):
        headers = {"Authorization": f"Bearer {token}"}
        web.post_job(headers, payload={canary: canary}, idempotency_key=canary, queue=canary)
        web.post_job(headers, payload=None, idempotency_key=canary, queue=canary)
        web.post_job(headers, kind="send_email", payload={"to": canary})
        web.request("GET", f"/jobs?queue={canary}&status={canary}", headers=headers)
        web.request("POST", "/jobs", body=f'{{"{canary}', headers={**headers, "Content-Type": "application/json"})
    assert len(web.log_lines()) > 10
    assert canary not in web.log()


def test_text_from_outside_cannot_start_a_line_of_the_log(
    refused: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    refused.open("/jobs", method="A\nINFO forged", headers={"X-Request-Id": "ok"})
    from workerpool.kinds.log_lines import TextFormatter

    shown = [TextFormatter("web").format(record) for record in caplog.records]
    assert shown
    assert not any("\n" in line for line in shown)
