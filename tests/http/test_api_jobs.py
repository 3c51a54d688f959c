"""Enqueue, read, list over HTTP."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.http import EXTERNAL, check_error, created, get, post
from support.work import count

from sql.connection import Connection

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

PAYLOADS: dict[str, dict[str, Any]] = {
    "send_email": {"to": "ann@example.org", "subject": "s", "body": "b"},
    "resize_image": {"source": "a.png", "width": 10, "height": 10},
    "summarize_text": {"text": "One. Two."},
    "webhook_delivery": {"url": "https://example.org/hook"},
}


def test_create_then_get_then_list(client: FlaskClient) -> None:
    response = post(client)
    job = response.get_json()
    assert response.status_code == 201
    assert (job["status"], job["attempts"], job["max_attempts"]) == ("queued", 0, 3)
    assert response.headers["Location"] == f"/jobs/{job['id']}"
    assert get(client, job["id"]) == job
    assert client.get("/jobs").get_json() == [job]


def test_a_new_job_says_all_it_was_given_and_nulls_for_the_rest(client: FlaskClient) -> None:
    job = created(client)
    assert UUID7.fullmatch(job["id"])
    assert all(TIME.fullmatch(job[name]) for name in ("run_at", "created_at", "updated_at"))
    assert job | {"id": 0, "run_at": 0, "created_at": 0, "updated_at": 0} == {
        "id": 0, "kind": "external", "status": "queued", "attempts": 0, "max_attempts": 3, "last_error": None,
        "payload": {"n": 1}, "run_at": 0, "idempotency_key": None, "created_at": 0, "updated_at": 0, "queue": "default",
        "priority": 0, "cancel_requested": False, "result": None, "progress": None, "started_at": None,
        "finished_at": None, "timeout_seconds": 900,
    }  # fmt: skip


def test_every_field_that_can_be_set_is_kept(client: FlaskClient) -> None:
    given = {
        "queue": "mail.night", "priority": -7, "max_attempts": 100, "timeout_seconds": 5, "idempotency_key": "a~!k",
        "run_at": "2031-05-06T07:08:09.000010Z", "payload": [None, 1.5, {"\u00e9": "\U0001f600"}],
    }  # fmt: skip
    job = created(client, **given)
    assert {name: job[name] for name in given} == given
    assert get(client, job["id"]) == job


@pytest.mark.parametrize("fields", [{}, {"run_at": "2031-05-06T09:08:09+02:00"}, {"idempotency_key": "k"}])
def test_a_new_job_is_answered_as_it_reads_back(client: FlaskClient, fields: dict[str, Any]) -> None:
    payload = {"bb": [1e300, 1.5, -0.0, 1e-7, None, 12345678901234567890], "a": "\u00e9\U0001f600\n\u2028", "": {}}
    asked = {**EXTERNAL, "payload": payload, **fields}
    response = client.post("/jobs", json=asked)
    assert response.status_code == 201
    assert response.text == client.get(response.headers["Location"]).text
    bulk = client.post(
        "/jobs/bulk", json={"jobs": [asked | {"idempotency_key": None}, asked | {"idempotency_key": "l"}]}
    )
    for result in bulk.get_json()["results"]:
        alone = client.get(f"/jobs/{result['job']['id']}").text.strip()
        assert f'{{"status":201,"job":{alone}}}' in bulk.text


def test_an_answer_says_how_many_bytes_it_has(client: FlaskClient) -> None:
    job = created(client, payload="\u00e9\U0001f600")
    for response in (post(client), client.get(f"/jobs/{job['id']}"), client.get("/jobs")):
        assert int(response.headers["Content-Length"]) == len(response.data)
    head = client.head(f"/jobs/{job['id']}")
    assert (head.headers["Content-Length"], head.data) == (
        client.get(f"/jobs/{job['id']}").headers["Content-Length"],
        b"",
    )


def test_null_counts_as_absent(client: FlaskClient) -> None:
    nulls = dict.fromkeys(("max_attempts", "idempotency_key", "queue", "priority", "run_at", "timeout_seconds"))
    job = created(client, **nulls)
    assert (job["max_attempts"], job["queue"], job["priority"], job["timeout_seconds"]) == (3, "default", 0, 900)


@pytest.mark.parametrize("kind", PAYLOADS)
def test_every_shipped_kind_is_accepted(client: FlaskClient, kind: str) -> None:
    assert created(client, kind=kind, payload=PAYLOADS[kind])["kind"] == kind


@pytest.mark.parametrize("payload", [None, True, 0, -1.5, "", "text", [], [[]], {}, {"": None}])
def test_external_takes_any_json(client: FlaskClient, payload: Any) -> None:
    assert get(client, created(client, payload=payload)["id"])["payload"] == payload


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("payload", [None, {}, [], "text", {"unknown": 1}])
def test_a_payload_not_of_its_kinds_shape_is_refused(refused: FlaskClient, kind: str, payload: Any) -> None:
    body = check_error(post(refused, kind=kind, payload=payload), "validation")
    assert body["message"].startswith(f"payload validation failed for {kind}: ")
    assert all(field.startswith("payload") for field in body["details"])


def test_the_refusal_of_a_payload_names_its_fields(client: FlaskClient) -> None:
    body = check_error(post(client, kind="send_email", payload={"to": "ann@example.org"}), "validation")
    assert set(body["details"]) == {"payload.subject", "payload.body"}
    assert "subject" in body["message"]


def test_an_unknown_kind_is_refused_and_the_known_ones_are_named(client: FlaskClient) -> None:
    body = check_error(post(client, kind="nope"), "validation")
    assert body["message"].startswith("payload validation failed for nope: kind")
    assert "summarize_text" in body["details"]["kind"][0]


@pytest.mark.parametrize("missing", ["kind", "payload"])
def test_kind_and_payload_are_required(client: FlaskClient, missing: str) -> None:
    body = check_error(client.post("/jobs", json={k: v for k, v in EXTERNAL.items() if k != missing}), "validation")
    assert list(body["details"]) == [missing]
    assert missing in body["message"]


def test_nothing_of_a_refused_request_is_stored(client: FlaskClient, connection: Connection) -> None:
    for fields in ({"kind": "nope"}, {"priority": True}, {"typo": 1}, {"kind": "send_email"}):
        assert post(client, idempotency_key="k", **fields).status_code == 422
    assert count(connection, "jobs") == 0
    assert count(connection, "idempotency_keys") == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        f"/jobs/{UNKNOWN}", "/jobs/not-a-uuid", f"/jobs/{{{UNKNOWN}}}", f"/jobs/urn:uuid:{UNKNOWN}",
        f"/jobs/{UNKNOWN.replace('-', '')}", f"/jobs/{UNKNOWN}x", f"/jobs/{UNKNOWN[:-1]}\uff17", "/jobs/%00", "/jobs/1",
        f"/jobs/{UNKNOWN}%0A", f"/jobs/{UNKNOWN}/", "/jobs/../jobs", "/jobs/%ff", "/jobs/" + "a" * 3000,
    ],
)  # fmt: skip
def test_an_id_that_is_no_jobs_is_not_found(refused: FlaskClient, path: str, method: str) -> None:
    if method == "GET":
        check_error(refused.get(path), "not_found")
    else:
        for verb in ("cancel", "retry"):
            check_error(refused.post(f"{path}/{verb}"), "not_found")


def test_an_id_in_upper_case_is_the_same_id(client: FlaskClient) -> None:
    job = created(client)
    assert get(client, job["id"].upper()) == job
    assert client.post(f"/jobs/{job['id'].upper()}/cancel").get_json() == {"status": "cancelled", "job_id": job["id"]}


def test_health_asks_the_database_and_healthz_does_not(client: FlaskClient) -> None:
    assert (client.get("/health").status_code, client.get("/health").get_json()) == (200, {"status": "ok"})
    alive = client.get("/healthz")
    assert (alive.status_code, alive.text, alive.mimetype) == (200, "ok", "text/plain")


def test_a_kinds_own_defaults_hold_where_the_request_says_nothing(client: FlaskClient) -> None:
    job = created(client, kind="webhook_delivery", payload=PAYLOADS["webhook_delivery"])
    assert job["max_attempts"] >= 1
    assert job["queue"] == "default"
