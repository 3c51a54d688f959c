"""`POST /v1/jobs`: what is stored, and the window of its keys."""

from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.http import check_error, created, get, post
from support.v1 import QUEUE, add, lease, lease_one, tell
from support.web import Web
from support.work import at_once, count, past
from werkzeug.test import TestResponse

from sql.connection import Connection

HOUR = 3600
LATER = "2031-01-01T00:00:00.000000Z"


def ask(client: FlaskClient, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
    return client.post("/v1/jobs", json={"queue": QUEUE, "payload": 1, **fields}, headers=headers)


def test_the_answer_is_the_jobs_id_and_nothing_else(client: FlaskClient) -> None:
    response = ask(client)
    assert (response.status_code, list(response.get_json())) == (200, ["job_id"])
    assert get(client, response.get_json()["job_id"])["kind"] == "external"


def test_what_is_not_said_has_the_defaults_of_this_route(client: FlaskClient) -> None:
    for nulls in ({}, dict.fromkeys(("max_attempts", "run_at", "priority", "idempotency_key", "kind"))):
        job = get(client, add(client, **nulls))
        assert (job["queue"], job["kind"], job["max_attempts"], job["priority"]) == (QUEUE, "external", 5, 0)
        assert (job["run_at"], job["idempotency_key"], job["status"]) == (job["created_at"], None, "queued")
        assert (job["attempts"], job["timeout_seconds"]) == (0, 900)


def test_what_is_said_is_kept(client: FlaskClient) -> None:
    job = get(client, add(client, {"a": [None]}, max_attempts=1, run_at=LATER, priority=-7, idempotency_key="k"))
    assert (job["payload"], job["max_attempts"], job["priority"]) == ({"a": [None]}, 1, -7)
    assert (job["run_at"], job["idempotency_key"]) == (LATER, "k")
    assert lease(client) == []


@pytest.mark.parametrize(
    "payload", [None, True, 0, "", "text", [], {}, [[{"a": None}]], 10**40, 1.5, "\u0001\u2028</script>\\😀"]
)
def test_a_payload_is_any_json(client: FlaskClient, payload: Any) -> None:
    add(client, payload)
    assert lease_one(client)["payload"] == payload


def test_a_job_of_a_kind_that_is_given_is_for_the_pool_and_of_its_shape(client: FlaskClient) -> None:
    job_id = add(client, {"text": "One."}, kind="summarize_text")
    assert get(client, job_id)["max_attempts"] == 5
    assert lease(client) == []
    assert [job["id"] for job in lease(client, kinds=["summarize_text"])] == [job_id]
    body = check_error(ask(client, kind="summarize_text", payload={"txt": "A typo."}), "validation")
    assert body["message"].startswith("payload validation failed for summarize_text: ")
    assert "payload.text" in body["details"]
    assert list(check_error(ask(client, kind="nope"), "validation")["details"]) == ["kind"]


def test_a_refused_request_stores_nothing(refused: FlaskClient) -> None:
    for fields in ({"kind": "nope"}, {"kind": "summarize_text"}, {"extra": 1}, {"queue": "a b"}, {"priority": 1.5}):
        check_error(ask(refused, **fields), "validation")
    for body in ({"queue": QUEUE}, {"payload": 1}, {}):
        check_error(refused.post("/v1/jobs", json=body), "validation")
    for key in ("", "a b", "k" * 256, "\u00e9", "a,b"):
        check_error(ask(refused, {"Idempotency-Key": key}), "bad_request")


def test_a_repeat_finds_the_job_and_is_not_counted(client: FlaskClient, connection: Connection) -> None:
    sample = f'jobs_enqueued_total{{kind="external",queue="{QUEUE}-counted"}}'
    assert len({add(client, queue=f"{QUEUE}-counted", idempotency_key="k") for _ in range(3)}) == 1
    assert count(connection, "jobs") == count(connection, "ready") == 1
    assert f"{sample} 1.0" in client.get("/metrics").text


def test_the_header_beats_the_body(client: FlaskClient) -> None:
    job_id = ask(client, {"Idempotency-Key": "header"}, idempotency_key="body").get_json()["job_id"]
    assert get(client, job_id)["idempotency_key"] == "header"
    assert ask(client, idempotency_key="header").get_json()["job_id"] == job_id


@pytest.mark.parametrize(
    "changes",
    [{"payload": 2}, {"queue": "other"}, {"priority": 1}, {"max_attempts": 6}, {"run_at": LATER},
     {"kind": "summarize_text", "payload": {"text": "x"}}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_one_key_with_another_request_is_a_conflict(client: FlaskClient, changes: dict[str, Any]) -> None:
    job_id = add(client, 1, idempotency_key="k")
    check_error(ask(client, **{"idempotency_key": "k", **changes}), "conflict")
    assert ask(client, idempotency_key="k").get_json()["job_id"] == job_id


def test_a_repeat_that_says_the_kind_it_had_by_default_is_the_same(client: FlaskClient) -> None:
    assert add(client, idempotency_key="k") == add(client, idempotency_key="k", kind="external", priority=None)


@pytest.mark.parametrize("hours", [1, 24, 8760])
def test_the_window_of_a_key_ends(make_app: Callable[..., flask.Flask], connection: Connection, hours: int) -> None:
    client = make_app(idempotency_window_hours=hours).test_client()
    first = add(client, idempotency_key="k")
    past(connection, "idempotency_keys", "expires_at", hours * HOUR - 60)
    assert add(client, idempotency_key="k") == first
    past(connection, "idempotency_keys", "expires_at", 60)
    second = add(client, {"another": "payload"}, idempotency_key="k")
    assert second != first
    assert add(client, {"another": "payload"}, idempotency_key="k") == second
    # Its window is whole again.
    past(connection, "idempotency_keys", "expires_at", hours * HOUR - 60)
    assert add(client, {"another": "payload"}, idempotency_key="k") == second
    assert {job["id"] for job in lease(client, 10)} == {first, second}


def test_a_window_is_a_day_where_nothing_is_set(client: FlaskClient, connection: Connection) -> None:
    add(client, idempotency_key="k")
    row = connection.fetch_one("select extract(epoch from expires_at - now())::float8 from windlass.idempotency_keys")
    assert row is not None
    assert row[0] == pytest.approx(24 * HOUR, abs=60)


def test_clients_at_once_after_the_window_make_one_new_job(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    web = start_web(WEB_THREADS="16")
    body = {"queue": QUEUE, "payload": None, "idempotency_key": "k"}

    def enqueue() -> str:
        return str(web.request("POST", "/v1/jobs", body).json()["job_id"])

    first = enqueue()
    past(connection, "idempotency_keys", "expires_at", 25 * HOUR)
    ids = set(at_once(*[enqueue] * 24))
    assert len(ids) == 1
    assert first not in ids
    assert count(connection, "jobs") == 2


def test_keys_are_one_namespace_over_both_ways_to_enqueue(client: FlaskClient, connection: Connection) -> None:
    job = created(client, idempotency_key="jobs", payload=1)
    check_error(ask(client, idempotency_key="jobs"), "conflict")
    job_id = add(client, 1, idempotency_key="v1")
    check_error(post(client, idempotency_key="v1", payload=1), "conflict")
    both = {"kind": "external", "queue": QUEUE, "payload": 1}
    assert post(client, idempotency_key="v1", **both).get_json()["id"] == job_id
    # A key of /jobs never ends, whoever asks with it.
    past(connection, "idempotency_keys", "expires_at", 100 * 365 * 24 * HOUR)
    check_error(ask(client, idempotency_key="jobs"), "conflict")
    assert post(client, idempotency_key="jobs", payload=1).get_json()["id"] == job["id"]
    assert ask(client, idempotency_key="v1").get_json()["job_id"] != job_id


def test_a_key_outlives_its_jobs_end(client: FlaskClient) -> None:
    job_id = add(client, idempotency_key="k")
    assert tell(client, "ack", lease_one(client)).status_code == 204
    assert add(client, idempotency_key="k") == job_id
    assert lease(client) == []
