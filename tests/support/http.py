"""Short words for what tests of the API do over and over."""

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.problems import STATUSES

EXTERNAL: dict[str, Any] = {"kind": "external", "payload": {"n": 1}}


def post(client: FlaskClient, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
    """Enqueues a job that no pool runs, except for `fields`."""
    return client.post("/jobs", json={**EXTERNAL, **fields}, headers=headers)


def created(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    """As `post`, and the job."""
    response = post(client, **fields)
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.get_json()
    return job


def get(client: FlaskClient, job_id: str) -> dict[str, Any]:
    """The job as the API shows it."""
    response = client.get(f"/jobs/{job_id}")
    assert response.status_code == 200, response.text
    job: dict[str, Any] = response.get_json()
    return job


def check_error(response: TestResponse, slug: str) -> dict[str, Any]:
    """That the response is of the one error shape, and says `slug`; its body."""
    assert response.mimetype == "application/json", response.text
    body: dict[str, Any] = response.get_json()
    assert body["error"] == slug, body
    assert response.status_code == STATUSES[slug]
    assert isinstance(body["message"], str)
    assert body["message"]
    assert set(body) - {"details"} == {"error", "message"}
    assert ("details" in body) == (slug == "validation")
    assert response.headers["X-Request-Id"]
    return body
