"""One key makes one job."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.http import EXTERNAL, check_error, created, post
from support.web import Web
from support.work import at_once, count

from sql.connection import Connection


def test_two_concurrent_posts_with_same_key_return_same_job(start_web: Callable[..., Web]) -> None:
    web = start_web()
    answers = at_once(*[lambda: web.post_job(idempotency_key="k")] * 2)
    assert sorted(answer.status for answer in answers) == [200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1


@pytest.mark.parametrize("clients", [10, 64])
def test_any_number_of_clients_at_once_make_one_job_of_one_key(
    start_web: Callable[..., Web], connection: Connection, clients: int
) -> None:
    web = start_web(WEB_CONCURRENCY="2", WEB_THREADS="16")
    for key in ("first", "second", "third"):
        answers = at_once(*[lambda key=key: web.post_job({"Idempotency-Key": key})] * clients)
        assert sorted(answer.status for answer in answers) == [200] * (clients - 1) + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1
    assert count(connection, "jobs") == 3
    assert web.value("jobs_enqueued_total", queue="default", kind="external") == 3


def test_of_clients_that_ask_for_different_jobs_under_one_key_one_wins(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    web = start_web(WEB_CONCURRENCY="2", WEB_THREADS="16")
    answers = at_once(*[lambda n=n: web.post_job(idempotency_key="k", payload=n % 4) for n in range(32)])
    won = [answer.json()["payload"] for answer in answers if answer.status == 201]
    assert len(won) == 1
    for n, answer in enumerate(answers):
        assert answer.status in ((200, 201) if n % 4 == won[0] else (409,))
    assert count(connection, "jobs") == 1


def test_bulks_at_once_with_overlapping_keys_make_one_job_of_each(
    start_web: Callable[..., Web], connection: Connection
) -> None:
    web = start_web(WEB_CONCURRENCY="2", WEB_THREADS="8")

    def bulk(first: int) -> Callable[[], Any]:
        keys = [f"k{(first + n) % 100}" for n in range(100)]
        jobs = [{"kind": "external", "payload": None, "idempotency_key": key} for key in keys]
        return lambda: web.request("POST", "/jobs/bulk", {"jobs": jobs if first % 2 else jobs[::-1]})

    answers = at_once(*[bulk(first) for first in range(12)])
    results = [result for answer in answers for result in answer.json()["results"]]
    assert sorted(result["status"] for result in results) == [200] * 1100 + [201] * 100
    assert count(connection, "jobs") == 100


def test_different_keys_make_different_jobs(client: FlaskClient) -> None:
    assert created(client, idempotency_key="a")["id"] != created(client, idempotency_key="b")["id"]


def test_no_key_makes_a_new_job_each_time(client: FlaskClient) -> None:
    assert created(client)["id"] != created(client)["id"]


def test_the_second_request_answers_200_with_the_first_ones_job(client: FlaskClient) -> None:
    job = created(client, idempotency_key="k")
    again = post(client, idempotency_key="k")
    assert (again.status_code, again.get_json()) == (200, job)
    assert "Location" not in again.headers


def test_the_header_beats_the_body(client: FlaskClient) -> None:
    job = post(client, {"Idempotency-Key": "of the header".replace(" ", "-")}, idempotency_key="body").get_json()
    assert job["idempotency_key"] == "of-the-header"
    assert created(client, idempotency_key="body")["id"] != job["id"]


def test_the_headers_name_ignores_case_and_body_and_header_are_one_namespace(client: FlaskClient) -> None:
    job = created(client, idempotency_key="k")
    assert post(client, {"IDEMPOTENCY-KEY": "k"}).get_json()["id"] == job["id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": {"n": 2}}, {"kind": "summarize_text", "payload": {"text": "x"}}, {"queue": "q"}, {"priority": 1},
        {"max_attempts": 5}, {"run_at": "2031-01-01T00:00:00Z"}, {"timeout_seconds": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_one_key_with_another_request_is_a_conflict(client: FlaskClient, changes: dict[str, Any]) -> None:
    job = created(client, idempotency_key="k")
    body = check_error(post(client, **{"idempotency_key": "k", **changes}), "conflict")
    assert "idempotency_key" in body["message"]
    assert post(client, idempotency_key="k").get_json() == job


def test_the_order_of_names_and_nulls_are_not_another_request(client: FlaskClient) -> None:
    job = created(client, idempotency_key="k", payload={"a": 1, "b": 2})
    again = post(client, idempotency_key="k", payload={"b": 2, "a": 1}, queue=None)
    assert (again.status_code, again.get_json()["id"]) == (200, job["id"])


def test_a_key_lives_as_long_as_its_job(client: FlaskClient, connection: Connection) -> None:
    job = created(client, idempotency_key="k")
    assert client.post(f"/jobs/{job['id']}/cancel").status_code == 200
    assert post(client, idempotency_key="k").get_json()["status"] == "cancelled"
    assert connection.fetch_one("select expires_at = 'infinity' from windlass.idempotency_keys") == (True,)


BAD_KEYS = ["", "a b", "k" * 256, "\u00e9", "a,b", ",", "a\tb"]


@pytest.mark.parametrize("key", BAD_KEYS, ids=lambda key: repr(key[:8]))
def test_a_bad_key_in_the_header_is_refused(refused: FlaskClient, key: str) -> None:
    check_error(post(refused, {"Idempotency-Key": key}), "bad_request")


def test_a_key_of_255_characters_is_a_key(client: FlaskClient) -> None:
    key = "".join(chr(0x21 + n % 94) for n in range(255))
    assert created(client, idempotency_key=key)["idempotency_key"] == key
    assert post(client, {"Idempotency-Key": "k" * 255}).status_code == 201


def test_a_header_sent_twice_is_refused(refused: FlaskClient) -> None:
    response = refused.post("/jobs", json=EXTERNAL, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    check_error(response, "bad_request")


def test_a_bulk_has_no_key_of_its_own(refused: FlaskClient) -> None:
    response = refused.post("/jobs/bulk", json={"jobs": [EXTERNAL]}, headers={"Idempotency-Key": "k"})
    assert "each job" in check_error(response, "bad_request")["message"]


def test_a_replay_makes_no_second_count_and_no_second_row(client: FlaskClient, connection: Connection) -> None:
    for _ in range(3):
        post(client, idempotency_key="k")
    assert count(connection, "jobs") == count(connection, "idempotency_keys") == count(connection, "ready") == 1


def test_a_key_is_not_a_pattern(client: FlaskClient) -> None:
    keys = ["%", "_", "%s", "%(key)s", "'", '"', "\\", "{}", "NULL", "null", "{a"]
    ids = {created(client, idempotency_key=key)["id"] for key in keys}
    assert len(ids) == len(keys)
    assert {json.dumps(job["idempotency_key"]) for job in client.get("/jobs").get_json()} == set(map(json.dumps, keys))
