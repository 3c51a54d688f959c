"""A client of the second system we descend from works here as it is: its tests and its worker, call by call."""

import re
import secrets
import time
from collections.abc import Callable

import pytest
from support.s2_client import S2Client, S2Worker
from support.waiting import until
from support.web import Web

ORDER = ["id", "queue", "payload", "state", "attempts", "max_attempts", "run_at", "leased_until", "priority",
         "created_at", "updated_at"]  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z")


@pytest.fixture
def s2(shared_web: Web) -> S2Client:
    return S2Client(shared_web.url)


@pytest.fixture
def queue() -> str:
    return f"tasks-{secrets.token_hex(4)}"


def waited(seconds: float) -> bool:
    """Its tests sleep; ours wait for the clock."""
    since = time.monotonic()
    return until(lambda: time.monotonic() - since >= seconds)


def test_enqueue_and_lease_and_ack(s2: S2Client, queue: str) -> None:
    job_id = s2.enqueue(queue, {"hello": "world"})
    (job,) = s2.lease(queue, 10, 30_000)
    assert job["id"] == job_id
    assert s2.ack(job_id) == 204


def test_fail_retries_then_dead(s2: S2Client, queue: str) -> None:
    job_id = s2.enqueue(queue, {"x": 1}, max_attempts=2)
    assert [job["id"] for job in s2.lease(queue, 1, 30_000)] == [job_id]
    assert s2.fail(job_id, "first", 100) == 204
    waited(0.15)
    assert [job["id"] for job in s2.lease(queue, 1, 30_000)] == [job_id]
    assert s2.fail(job_id, "second", 0) == 204
    waited(0.05)
    assert s2.lease(queue, 1, 30_000) == []


def test_lease_expiration_allows_reclaim(s2: S2Client, queue: str) -> None:
    job_id = s2.enqueue(queue, None)
    assert [job["id"] for job in s2.lease(queue, 1, 100)] == [job_id]
    assert s2.lease(queue, 1, 100) == []
    waited(0.15)
    assert [job["id"] for job in s2.lease(queue, 1, 100)] == [job_id]


def test_idempotency_key_dedupes_enqueue(s2: S2Client, queue: str) -> None:
    assert s2.enqueue(queue, 1, idempotency_key=queue) == s2.enqueue(queue, 1, idempotency_key=queue)
    assert len(s2.lease(queue, 10, 30_000)) == 1


def test_its_job_comes_with_its_fields_in_its_order(s2: S2Client, queue: str) -> None:
    s2.enqueue(queue, [1, None, {"a": True}], max_attempts=7, priority=-3)
    (job,) = s2.lease(queue, 1, 30_000)
    assert list(job)[: len(ORDER)] == ORDER
    assert (job["queue"], job["payload"], job["state"]) == (queue, [1, None, {"a": True}], "leased")
    assert (job["max_attempts"], job["priority"]) == (7, -3)
    for name in ("run_at", "leased_until", "created_at", "updated_at"):
        assert TIME.fullmatch(job[name]), job[name]


def test_its_defaults_are_ours(s2: S2Client, queue: str) -> None:
    s2.enqueue(queue, None)
    (job,) = s2.lease(queue, 1, 30_000)
    assert (job["payload"], job["max_attempts"], job["priority"]) == (None, 5, 0)


def test_its_calls_on_a_job_that_is_not_leased_are_conflicts(s2: S2Client, queue: str) -> None:
    job_id = s2.enqueue(queue, None)
    assert (s2.ack(job_id), s2.fail(job_id, "no"), s2.heartbeat(job_id, 1000)) == (409, 409, 409)
    s2.lease(queue, 1, 30_000)
    assert s2.heartbeat(job_id, 1000) == 204
    assert s2.ack(job_id) == 204
    assert (s2.ack(job_id), s2.fail(job_id, "no"), s2.heartbeat(job_id, 1000)) == (409, 409, 409)


def test_a_heartbeat_replaces_the_end_of_the_lease_and_may_shorten_it(s2: S2Client, queue: str) -> None:
    job_id = s2.enqueue(queue, None)
    s2.lease(queue, 1, 30_000)
    assert s2.heartbeat(job_id, 100) == 204
    waited(0.15)
    # Expired, and nobody took it back yet.
    assert s2.heartbeat(job_id, 100) == 204
    assert s2.lease(queue, 1, 30_000) == []
    waited(0.15)
    assert [job["id"] for job in s2.lease(queue, 1, 30_000)] == [job_id]


def test_its_worker_works_call_by_call(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_THREADS="12", API_TOKEN="the-old-token")
    producer = S2Client(web.url, "the-old-token")
    good = [producer.enqueue("tasks", {"n": n}) for n in range(3)]
    bad = producer.enqueue("tasks", {"fail": True}, max_attempts=2)
    client = S2Client(web.url, "the-old-token")
    worker = S2Worker(client, "tasks", beat_seconds=0.1, beats=2)
    calls = client.calls
    until(lambda: calls.count(("POST", f"/v1/jobs/{bad}/fail", 204)) == 2, seconds=15)
    worker.stop()
    assert {status for _, path, status in calls if path == "/v1/lease"} == {200}
    for job_id in good:
        assert calls.count(("POST", f"/v1/jobs/{job_id}/ack", 204)) == 1
    for job_id in [*good, bad]:
        beats = [status for _, path, status in calls if path == f"/v1/jobs/{job_id}/heartbeat"]
        assert beats == [204] * (4 if job_id == bad else 2)
    # 2 s between the two attempts, as it asked, and then dead.
    assert producer.lease("tasks", 10, 1000) == []
    authorised = {"Authorization": "Bearer the-old-token"}
    ended = {job_id: web.request("GET", f"/jobs/{job_id}", headers=authorised).json() for job_id in [*good, bad]}
    assert {ended[job_id]["status"] for job_id in good} == {"succeeded"}
    assert (ended[bad]["status"], ended[bad]["last_error"]) == ("failed_permanent", "simulated failure")


def test_its_ping_and_its_token_answer_as_before(start_web: Callable[..., Web]) -> None:
    web = start_web(API_TOKEN="right")
    assert S2Client(web.url).call("GET", "/healthz") == (200, "ok")
    body = {"queue": "tasks", "limit": 1, "lease_ms": 1000}
    assert S2Client(web.url).call("POST", "/v1/lease", body).status == 401
    assert S2Client(web.url, "wrong").call("POST", "/v1/lease", body).status == 401
    assert S2Client(web.url, "right").call("POST", "/v1/lease", body) == (200, {"jobs": []})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/jobs", {"queue": "tasks"}, 422),
        ("/v1/jobs", {"queue": 1, "payload": None}, 422),
        ("/v1/lease", {"queue": "tasks", "limit": 1}, 422),
        ("/v1/lease", {"queue": "tasks", "limit": "1", "lease_ms": 1000}, 422),
        ("/v1/jobs/01a200c6-e47b-72f2-a97e-1600febf64d7/fail", {}, 422),
        ("/v1/jobs/01a200c6-e47b-72f2-a97e-1600febf64d7/heartbeat", {}, 422),
        # As it documented; its code said 409 and 400.
        ("/v1/jobs/01a200c6-e47b-72f2-a97e-1600febf64d7/ack", None, 404),
        ("/v1/jobs/nonsense/ack", None, 404),
    ],
)
def test_its_mistakes_are_answered_with_its_statuses(s2: S2Client, path: str, body: object, status: int) -> None:
    assert s2.call("POST", path, body).status == status
