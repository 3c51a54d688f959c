"""Short words for what tests of `/v1` do over and over."""

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

QUEUE = "tasks"


def add(client: FlaskClient, payload: Any = None, **fields: Any) -> str:
    """Enqueues a job for workers over HTTP; its id."""
    response = client.post("/v1/jobs", json={"queue": QUEUE, "payload": payload, **fields})
    assert response.status_code == 200, response.text
    job_id: str = response.get_json()["job_id"]
    return job_id


def lease(client: FlaskClient, limit: int = 1, **fields: Any) -> list[dict[str, Any]]:
    """What a request for work is given."""
    response = client.post("/v1/lease", json={"queue": QUEUE, "limit": limit, "lease_ms": 60_000, **fields})
    assert response.status_code == 200, response.text
    jobs: list[dict[str, Any]] = response.get_json()["jobs"]
    return jobs


def lease_one(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    """The one job there must be."""
    (job,) = lease(client, 2, **fields)
    return job


def added_and_leased(client: FlaskClient, lease_ms: int = 60_000, **fields: Any) -> dict[str, Any]:
    """A new job, taken at once."""
    job_id = add(client, **fields)
    job = lease_one(client, lease_ms=lease_ms)
    assert job["id"] == job_id
    return job


def tell(client: FlaskClient, verb: str, job: dict[str, Any] | str, **body: Any) -> TestResponse:
    """ack, fail, heartbeat or release, without the token unless `body` has it; what a verb must have is filled in."""
    job_id = job if isinstance(job, str) else job["id"]
    required = {"fail": {"reason": "no"}, "heartbeat": {"extend_ms": 60_000}}.get(verb, {})
    return client.post(f"/v1/jobs/{job_id}/{verb}", json={**required, **body})


def tell_by_token(client: FlaskClient, verb: str, job: dict[str, Any], **body: Any) -> TestResponse:
    """As `tell`, naming the lease."""
    return tell(client, verb, job, lease_token=job["lease_token"], **body)
