"""Many jobs in one request: each as if it had come alone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.database import open_connection
from support.http import EXTERNAL, check_error, created, get
from support.work import add, count

from sql.connection import Connection


def bulk(client: FlaskClient, *jobs: Any) -> list[dict[str, Any]]:
    response = client.post("/jobs/bulk", json={"jobs": list(jobs)})
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.get_json()["results"]
    return results


def job(**fields: Any) -> dict[str, Any]:
    return {**EXTERNAL, **fields}


def statuses(results: list[dict[str, Any]]) -> list[int]:
    return [result["status"] for result in results]


@contextmanager
def held(database_url: str, key: str) -> Iterator[None]:
    """Meanwhile a transaction that does not end uses `key`."""
    other = open_connection(database_url)
    with other.transaction():
        add(other, idempotency_key=key, request_hash="another's")
        yield
    other.close()


@pytest.fixture
def hasty(make_app: Callable[..., flask.Flask], database_url: str) -> FlaskClient:
    """A client of a service that waits for nobody long."""
    separator = "&" if "?" in database_url else "?"
    return make_app(database_url=f"{database_url}{separator}options=-c%20lock_timeout%3D100ms").test_client()


def test_every_item_gets_its_own_answer_in_order(client: FlaskClient) -> None:
    first, second = bulk(client, job(payload=1), job(payload=2))
    assert (first["status"], second["status"]) == (201, 201)
    assert (first["job"]["payload"], second["job"]["payload"]) == (1, 2)
    assert first["job"]["id"] < second["job"]["id"]
    assert first["job"] == get(client, first["job"]["id"])


def test_one_bad_item_does_not_refuse_its_neighbours(client: FlaskClient, connection: Connection) -> None:
    bad: list[Any] = [
        None, 5, "text", [], {}, job(typo=1), job(kind="nope"), job(kind="send_email"), job(priority=True),
        job(idempotency_key=""), job(run_at="tomorrow"), job(max_attempts=0),
    ]  # fmt: skip
    mixed = [item for each in bad for item in (each, job())]
    results = bulk(client, *mixed)
    assert statuses(results) == [422, 201] * len(bad)
    for result in results[::2]:
        assert (result["error"], bool(result["message"]), bool(result["details"])) == ("validation", True, True)
        assert "job" not in result
    assert count(connection, "jobs") == len(bad)


def test_an_item_says_what_post_jobs_would_have_said(client: FlaskClient) -> None:
    for bad in ({}, job(kind="nope"), job(kind="send_email", payload={"to": 1}), job(priority=1.5)):
        alone = client.post("/jobs", json=bad).get_json()
        assert bulk(client, bad) == [{"status": 422, **alone}]


def test_a_key_twice_in_one_bulk_makes_one_job(client: FlaskClient) -> None:
    first, again, other = bulk(
        client, job(idempotency_key="k"), job(idempotency_key="k"), job(idempotency_key="k", payload="other")
    )
    assert statuses([first, again, other]) == [201, 200, 409]
    assert again["job"] == first["job"]
    assert other["error"] == "conflict"


def test_a_key_of_an_older_job_is_found_again(client: FlaskClient) -> None:
    older = created(client, idempotency_key="k")
    results = bulk(
        client,
        job(idempotency_key="k"),
        job(idempotency_key="k", payload="other"),
        job(idempotency_key="k"),
        job(idempotency_key="new"),
    )
    assert statuses(results) == [200, 409, 200, 201]
    assert results[0]["job"] == results[2]["job"] == older


def test_the_item_that_matches_the_older_job_is_found_behind_those_that_do_not(client: FlaskClient) -> None:
    created(client, idempotency_key="k", payload="stored")
    payloads = ["a", "b", "a", "stored", "b", "stored", "c"]
    results = bulk(client, *[job(idempotency_key="k", payload=payload) for payload in payloads])
    assert statuses(results) == [200 if payload == "stored" else 409 for payload in payloads]


def test_a_bulk_twice_is_a_bulk_once(client: FlaskClient, connection: Connection) -> None:
    items = [job(idempotency_key=f"k{n}") for n in range(50)]
    assert statuses(bulk(client, *items)) == [201] * 50
    assert statuses(bulk(client, *items)) == [200] * 50
    assert count(connection, "jobs") == 50


def test_a_thousand_jobs_are_the_most(client: FlaskClient, connection: Connection) -> None:
    assert statuses(bulk(client, *[job()] * 1000)) == [201] * 1000
    assert count(connection, "jobs") == 1000
    body = check_error(client.post("/jobs/bulk", json={"jobs": [job()] * 1001}), "validation")
    assert "1000" in body["message"]
    assert count(connection, "jobs") == 1000


def test_no_jobs_are_no_results(client: FlaskClient) -> None:
    assert bulk(client) == []


@pytest.mark.parametrize(
    "body", [{}, {"jobs": None}, {"jobs": {}}, {"jobs": "text"}, {"jobs": 5}, {"jobs": [], "x": 1}, []]
)
def test_a_bulk_that_is_no_list_of_jobs_is_refused(refused: FlaskClient, body: Any) -> None:
    check_error(refused.post("/jobs/bulk", json=body), "validation")


def test_what_the_database_alone_refuses_hurts_only_its_item(client: FlaskClient, connection: Connection) -> None:
    # As a constraint that an operator added.
    connection.execute("alter table windlass.jobs add constraint no_thirteen check (payload <> '13')")
    results = bulk(client, *[job(payload=n) for n in (12, 13, 14)])
    assert statuses(results) == [201, 422, 201]
    assert "details" in results[1]
    alone = client.post("/jobs", json=job(payload=13))
    check_error(alone, "validation")
    assert "13" not in alone.text
    assert count(connection, "jobs") == 2


def test_a_key_in_an_open_transaction_refuses_no_item_without_a_key(
    client: FlaskClient, connection: Connection, database_url: str
) -> None:
    with held(database_url, "k"):
        began = time.monotonic()
        results = bulk(client, job(payload=1), job(idempotency_key="k"), job(typo=1), *[job(payload=2)] * 500)
        assert time.monotonic() - began < 4.5
        assert statuses(results) == [201, 503, 422, *[201] * 500]
        assert (results[0]["job"]["payload"], results[3]["job"]["payload"]) == (1, 2)
        assert (results[1]["error"], bool(results[1]["message"]), "job" in results[1]) == ("unavailable", True, False)
        assert count(connection, "jobs") == count(connection, "ready") == 501


def test_items_with_a_key_can_be_sent_again_when_that_transaction_has_ended(
    hasty: FlaskClient, connection: Connection, database_url: str
) -> None:
    keyed = [job(idempotency_key=key, payload=n) for n, key in enumerate(["k", "a", "k", "a", "k"])]
    with held(database_url, "k"):
        assert statuses(bulk(hasty, *keyed, job())) == [503, 503, 503, 503, 503, 201]
    assert statuses(bulk(hasty, *keyed)) == [409, 201, 409, 409, 409]
    assert count(connection, "jobs") == 3


def test_a_value_that_the_database_refuses_does_not_spoil_the_rest_of_those_without_a_key(
    hasty: FlaskClient, connection: Connection, database_url: str
) -> None:
    connection.execute("alter table windlass.jobs add constraint no_thirteen check (payload <> '13')")
    with held(database_url, "k"):
        results = bulk(hasty, job(payload=13), job(idempotency_key="k"), job(payload=14))
    assert statuses(results) == [422, 503, 201]


def test_a_bulk_of_which_nothing_can_be_stored_is_unavailable(
    hasty: FlaskClient, connection: Connection, database_url: str
) -> None:
    with held(database_url, "k"):
        response = hasty.post("/jobs/bulk", json={"jobs": [job(idempotency_key="k"), job(idempotency_key="a")]})
        check_error(response, "unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert count(connection, "jobs") == 0
