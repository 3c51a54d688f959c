"""Cancelling a job, and queueing an ended one anew."""

import pytest
from flask.testing import FlaskClient
from support.http import check_error, created, get
from support.work import claim_one

from sql import leases
from sql.connection import Connection
from sql.leases import Failure

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"


def test_cancelling_a_waiting_job_ends_it(client: FlaskClient) -> None:
    job = created(client)
    answer = client.post(f"/jobs/{job['id']}/cancel")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "cancelled", "job_id": job["id"]})
    shown = get(client, job["id"])
    assert (shown["status"], shown["attempts"], shown["started_at"]) == ("cancelled", 0, None)
    assert shown["finished_at"] is not None


def test_cancelling_a_running_job_asks_its_holder(client: FlaskClient, connection: Connection) -> None:
    job = created(client)
    lease = claim_one(connection, kinds=["external"])
    for _ in range(2):
        answer = client.post(f"/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.get_json()) == (202, {"status": "pending", "job_id": job["id"]})
        shown = get(client, job["id"])
        assert (shown["status"], shown["cancel_requested"]) == ("running", True)
    leases.ack_cancelled(connection, None, [lease])
    assert get(client, job["id"])["status"] == "cancelled"


def test_a_job_that_ends_before_its_cancel_is_seen_keeps_its_end(client: FlaskClient, connection: Connection) -> None:
    job = created(client)
    lease = claim_one(connection, kinds=["external"])
    client.post(f"/jobs/{job['id']}/cancel")
    leases.ack(connection, None, [(lease, '"done"')])
    shown = get(client, job["id"])
    assert (shown["status"], shown["result"], shown["cancel_requested"]) == ("succeeded", "done", False)


@pytest.mark.parametrize("end", ["succeeded", "failed_permanent", "cancelled"])
def test_cancelling_an_ended_job_is_a_conflict(client: FlaskClient, connection: Connection, end: str) -> None:
    job_id = ended(client, connection, end)
    check_error(client.post(f"/jobs/{job_id}/cancel"), "conflict")
    assert get(client, job_id)["status"] == end


@pytest.mark.parametrize("end", ["failed_permanent", "cancelled"])
def test_a_job_that_did_not_succeed_can_start_over(client: FlaskClient, connection: Connection, end: str) -> None:
    job_id = ended(client, connection, end)
    answer = client.post(f"/jobs/{job_id}/retry")
    job = answer.get_json()
    assert answer.status_code == 200
    assert job == get(client, job_id)
    assert (job["status"], job["attempts"], job["last_error"], job["finished_at"]) == ("queued", 0, None, None)
    check_error(client.post(f"/jobs/{job_id}/retry"), "conflict")


def test_a_job_that_has_not_ended_or_succeeded_cannot_start_over(client: FlaskClient, connection: Connection) -> None:
    job_id = ended(client, connection, "succeeded")
    check_error(client.post(f"/jobs/{job_id}/retry"), "conflict")
    waiting = created(client)["id"]
    check_error(client.post(f"/jobs/{waiting}/retry"), "conflict")
    claim_one(connection, kinds=["external"])
    check_error(client.post(f"/jobs/{waiting}/retry"), "conflict")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_an_unknown_id_is_not_found(refused: FlaskClient, verb: str) -> None:
    check_error(refused.post(f"/jobs/{UNKNOWN}/{verb}"), "not_found")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
@pytest.mark.parametrize(
    "sent",
    [{}, {"data": b""}, {"data": b"", "content_type": "text/plain"}, {"data": b"", "content_type": "application/json"},
     {"json": {}}],
    ids=["nothing", "no bytes", "no bytes of text", "no bytes of JSON", "an empty object"],
)  # fmt: skip
def test_a_body_that_says_nothing_is_never_a_media_type_problem(
    refused: FlaskClient, verb: str, sent: dict[str, object]
) -> None:
    check_error(refused.post(f"/jobs/{UNKNOWN}/{verb}", **sent), "not_found")  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_body_that_says_something_is_read(refused: FlaskClient, verb: str) -> None:
    path = f"/jobs/{UNKNOWN}/{verb}"
    check_error(refused.post(path, json={"force": True}), "validation")
    check_error(refused.post(path, json=[]), "validation")
    check_error(refused.post(path, data="{"), "unsupported_media_type")
    check_error(refused.post(path, data="{", content_type="application/json"), "bad_request")


def ended(client: FlaskClient, connection: Connection, end: str) -> str:
    job_id: str = created(client)["id"]
    if end == "cancelled":
        client.post(f"/jobs/{job_id}/cancel")
    elif end == "succeeded":
        leases.ack(connection, None, [(claim_one(connection, kinds=["external"]), None)])
    else:
        lease = claim_one(connection, kinds=["external"])
        leases.fail(connection, None, [Failure(lease, "broken", permanent=True)])
    return job_id
