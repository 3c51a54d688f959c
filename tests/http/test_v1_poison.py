"""A payload that cannot be read back hurts nobody but its own job."""

import json

import pytest
from flask.testing import FlaskClient
from support.http import get
from support.v1 import QUEUE, lease, lease_one
from support.work import add

from sql.connection import Connection

# The database stores them; Python does not read them back.
UNREADABLE = ["1e5000", "[" * 3000 + "]" * 3000, '{"a": [1, -1e4400]}']


def plant(connection: Connection, payload: str, **facts: object) -> str:
    """A job that some other client of the database put there."""
    return add(connection, queue=QUEUE, kind="external", payload=payload, **facts)


@pytest.mark.parametrize("payload", UNREADABLE, ids=["a number", "a depth", "a number within"])
def test_it_is_not_handed_out_and_fails_for_good_at_once(
    client: FlaskClient, connection: Connection, payload: str
) -> None:
    job_id = plant(connection, payload, max_attempts=10)
    assert lease(client, 10) == []
    job = get(client, job_id)
    assert (job["status"], job["attempts"]) == ("failed_permanent", 1)
    assert job["last_error"].startswith("the payload cannot be read back: ")
    assert lease(client, 10) == []


def test_its_neighbours_are_handed_out_in_their_order(client: FlaskClient, connection: Connection) -> None:
    planted = [plant(connection, UNREADABLE[n % 3] if n % 2 else f'{{"n": {n}}}') for n in range(20)]
    leased = lease(client, 20)
    assert [job["id"] for job in leased] == planted[::2]
    assert [job["payload"]["n"] for job in leased] == list(range(0, 20, 2))


def test_one_request_gets_past_it(client: FlaskClient, connection: Connection) -> None:
    for _ in range(5):
        plant(connection, "1e5000", priority=9)
    good = plant(connection, "1")
    assert lease_one(client)["id"] == good


def test_a_request_buries_a_bounded_number_of_them(client: FlaskClient, connection: Connection) -> None:
    for _ in range(25):
        plant(connection, "1e5000")
    good = plant(connection, "1")
    answers = [lease(client, 1) for _ in range(3)]
    assert [[job["id"] for job in jobs] for jobs in answers] == [[], [], [good]]


def test_an_answer_is_json_whatever_is_in_the_queue(client: FlaskClient, connection: Connection) -> None:
    payloads = ["0", "1e300", '"\\u2028\\\\"', "[1.50]", "1e4000", "1e-400", '{"": null}', *UNREADABLE]
    for payload in payloads:
        plant(connection, payload)
    text = client.post("/v1/lease", json={"queue": QUEUE, "limit": 100, "lease_ms": 1000}).text
    assert len(json.loads(text)["jobs"]) == len(payloads) - len(UNREADABLE)
