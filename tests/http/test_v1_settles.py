"""What becomes of a leased job: ack, fail, heartbeat, release, and the lease that runs out."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.http import check_error, get
from support.v1 import add, added_and_leased, lease, lease_one, tell, tell_by_token
from support.work import inside, past

from sql.connection import Connection

DAY_MS = 86_400_000


def ends_in(connection: Connection, job_id: str) -> float:
    """Seconds until the job's lease ends."""
    row = connection.fetch_one(
        "select extract(epoch from lease_expires_at - now())::float8 from windlass.running where id = %(id)s", id=job_id
    )
    assert row is not None
    return float(row[0])


def due_in(client: FlaskClient, job_id: str) -> timedelta:
    """From its failure to its next attempt."""
    job = get(client, job_id)
    return datetime.fromisoformat(job["run_at"]) - datetime.fromisoformat(job["updated_at"])


def test_ack_ends_a_job_well(client: FlaskClient) -> None:
    job = added_and_leased(client)
    response = tell_by_token(client, "ack", job)
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    shown = get(client, job["id"])
    assert (shown["status"], shown["attempts"], shown["result"], shown["last_error"]) == ("succeeded", 1, None, None)
    assert shown["finished_at"] is not None


@pytest.mark.parametrize("result", [0, False, "", [], {}, "text", {"a": [1, {"b": None}]}, 1.5, "\u2028😀", 10**30])
def test_a_result_is_any_json(client: FlaskClient, result: Any) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, "ack", job, result=result).status_code == 204
    assert get(client, job["id"])["result"] == result


@pytest.mark.parametrize("verb", ["ack", "release"])
@pytest.mark.parametrize(
    "sent",
    [{}, {"data": b""}, {"data": b"", "content_type": "text/plain"}, {"data": b"", "content_type": "application/json"},
     {"json": {}}],
    ids=["nothing", "no bytes", "no bytes of text", "no bytes of JSON", "an empty object"],
)  # fmt: skip
def test_ack_and_release_need_no_body(client: FlaskClient, verb: str, sent: dict[str, Any]) -> None:
    job = added_and_leased(client)
    assert client.post(f"/v1/jobs/{job['id']}/{verb}", **sent).status_code == 204


def test_fail_tries_again_after_the_time_it_names(client: FlaskClient) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, "fail", job, reason="no luck", retry_ms=90_000).status_code == 204
    shown = get(client, job["id"])
    assert (shown["status"], shown["attempts"], shown["last_error"]) == ("retrying", 1, "no luck")
    assert due_in(client, job["id"]) == timedelta(seconds=90)
    assert lease(client) == []


@pytest.mark.parametrize("body", [{}, {"retry_ms": None}])
def test_fail_waits_5_seconds_where_nothing_is_said(client: FlaskClient, body: dict[str, Any]) -> None:
    job = added_and_leased(client)
    tell(client, "fail", job, **body)
    assert due_in(client, job["id"]) == timedelta(seconds=5)


def test_fail_without_a_delay_is_due_at_once_with_its_reason(client: FlaskClient) -> None:
    job = added_and_leased(client)
    tell(client, "fail", job, reason="again", retry_ms=0)
    again = lease_one(client)
    assert (again["id"], again["attempts"], again["last_error"], again["state"]) == (job["id"], 2, "again", "leased")


def test_the_last_failure_ends_in_the_dead_letters(client: FlaskClient) -> None:
    job_id = add(client, max_attempts=2)
    for attempt in (1, 2):
        job = lease_one(client)
        assert (job["attempts"], job["max_attempts"]) == (attempt, 2)
        tell_by_token(client, "fail", job, reason=f"attempt {attempt}", retry_ms=0)
    shown = get(client, job_id)
    assert (shown["status"], shown["last_error"]) == ("failed_permanent", "attempt 2")
    assert lease(client) == []


def test_a_permanent_failure_is_the_last(client: FlaskClient) -> None:
    job = added_and_leased(client, max_attempts=100)
    assert tell_by_token(client, "fail", job, reason="hopeless", permanent=True).status_code == 204
    shown = get(client, job["id"])
    assert (shown["status"], shown["attempts"], shown["last_error"]) == ("failed_permanent", 1, "hopeless")


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("", ""), ("one\ntwo", "one\ntwo"), ("\x1b[31mred", "\ufffd[31mred"), ("naïve 😀", "naïve 😀"),
     ("%s %(x)s {}", "%s %(x)s {}"), ('"\\,{}', '"\\,{}'), ("NULL", "NULL"),
     ("x" * 9000, "x" * (8192 - 14) + " … [truncated]")],
)  # fmt: skip
def test_a_reason_is_kept_as_it_can_be_stored_and_shown(client: FlaskClient, reason: str, kept: str) -> None:
    job = added_and_leased(client)
    assert tell_by_token(client, "fail", job, reason=reason).status_code == 204
    assert get(client, job["id"])["last_error"] == kept


def test_a_heartbeat_moves_the_end_of_the_lease_to_so_long_from_now(
    client: FlaskClient, connection: Connection
) -> None:
    job = added_and_leased(client)
    for extend_ms in (100, 3_600_000, 30_000, DAY_MS):
        response = tell_by_token(client, "heartbeat", job, extend_ms=extend_ms)
        assert (response.status_code, "Windlass-Cancel-Requested" in response.headers) == (204, False)
        assert ends_in(connection, job["id"]) == pytest.approx(extend_ms / 1000, abs=5)


@pytest.mark.parametrize("progress", [0, 50, "half", {"percent": 50}, [], False])
def test_a_heartbeat_keeps_the_progress_that_comes_with_it(client: FlaskClient, progress: Any) -> None:
    job = added_and_leased(client)
    tell_by_token(client, "heartbeat", job, progress=progress)
    tell_by_token(client, "heartbeat", job)
    assert get(client, job["id"])["progress"] == progress
    tell_by_token(client, "heartbeat", job, progress=None)
    assert get(client, job["id"])["progress"] is None


def test_a_heartbeat_tells_its_holder_of_a_cancel(client: FlaskClient) -> None:
    job = added_and_leased(client)
    assert client.post(f"/jobs/{job['id']}/cancel").status_code == 202
    for told in (tell, tell_by_token):
        response = told(client, "heartbeat", job)
        assert (response.status_code, response.headers["Windlass-Cancel-Requested"]) == (204, "true")


def test_a_holder_that_saw_the_cancel_releases_and_the_job_has_ended(client: FlaskClient) -> None:
    job = added_and_leased(client)
    client.post(f"/jobs/{job['id']}/cancel")
    for _ in range(2):
        assert tell_by_token(client, "release", job).status_code == 204
    assert get(client, job["id"])["status"] == "cancelled"
    assert lease(client) == []


def test_a_holder_that_did_not_see_the_cancel_keeps_its_own_end(client: FlaskClient) -> None:
    job = added_and_leased(client)
    client.post(f"/jobs/{job['id']}/cancel")
    assert tell_by_token(client, "ack", job).status_code == 204
    assert get(client, job["id"])["status"] == "succeeded"
    job = added_and_leased(client)
    client.post(f"/jobs/{job['id']}/cancel")
    assert tell_by_token(client, "fail", job, retry_ms=0).status_code == 204
    assert get(client, job["id"])["status"] == "cancelled"


def test_release_gives_the_attempt_back_and_the_job_is_due_now(client: FlaskClient) -> None:
    job = added_and_leased(client)
    assert (job["attempts"], tell_by_token(client, "release", job).status_code) == (1, 204)
    assert get(client, job["id"])["attempts"] == 0
    again = lease_one(client)
    assert (again["id"], again["attempts"], again["last_error"]) == (job["id"], 1, None)


def test_a_lease_that_runs_out_counts_and_ends_in_the_dead_letters(client: FlaskClient, connection: Connection) -> None:
    job_id = add(client, max_attempts=3)
    for attempt in (1, 2, 3):
        job = lease_one(client)
        assert (job["id"], job["attempts"]) == (job_id, attempt)
        assert (job["last_error"] is None) == (attempt == 1)
        past(connection, "running", "lease_expires_at", 3600)
    assert lease(client) == []
    shown = get(client, job_id)
    assert (shown["status"], shown["attempts"], shown["last_error"]) == ("failed_permanent", 3, "lease expired")


def test_a_cancel_of_a_job_whose_lease_ran_out_ends_it(client: FlaskClient, connection: Connection) -> None:
    job = added_and_leased(client)
    client.post(f"/jobs/{job['id']}/cancel")
    past(connection, "running", "lease_expires_at", 3600)
    assert lease(client) == []
    assert get(client, job["id"])["status"] == "cancelled"


def test_only_the_queue_that_is_asked_for_takes_back_its_leases(client: FlaskClient, connection: Connection) -> None:
    job = added_and_leased(client)
    past(connection, "running", "lease_expires_at", 3600)
    assert lease(client, queue="another") == []
    assert inside(connection, job["id"]).lease_expires_at is not None
    assert lease_one(client)["id"] == job["id"]


def test_a_lease_that_has_not_run_out_is_nobody_elses(client: FlaskClient, connection: Connection) -> None:
    job = added_and_leased(client, lease_ms=DAY_MS)
    past(connection, "running", "lease_expires_at", 86_000)
    assert lease(client) == []
    assert tell_by_token(client, "ack", job).status_code == 204


def test_the_settles_are_counted_once(client: FlaskClient, connection: Connection) -> None:
    def count(name: str) -> float:
        lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[1])

    names = ("jobs_leased_total", "jobs_acked_total", "jobs_failed_total", "leases_expired_total")
    before = {name: count(name) for name in names}
    for verb in ("ack", "fail", "release"):
        job = added_and_leased(client)
        for _ in range(3):
            tell_by_token(client, verb, job, **({"permanent": True} if verb == "fail" else {}))
        check_error(tell(client, verb, job), "conflict")
    lease_one(client)
    assert count("inflight_leases") == 1
    past(connection, "running", "lease_expires_at", 3600)
    lease_one(client)
    assert [count(name) - before[name] for name in names] == [5, 1, 1, 1]
