"""The known weaknesses of the second system we descend from, by the numbers of its list: we share none of them.

Items 5 to 7 are its worker's (`windlass remote` has their tests), 8 its rate limiter's (`test_limits*.py`), 14 its
repository's. Of 11 one half is a choice of ours: strict priority may starve low priorities, and the README says so.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient
from support.http import check_error, get
from support.v1 import QUEUE, add, added_and_leased, lease, lease_one, tell, tell_by_token
from support.waiting import until
from support.web import Web
from support.work import count, past

from app import context
from app.settings import AppSettings, SettingsError
from sql import retention
from sql.connection import Connection

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"
VERBS = ["ack", "fail", "heartbeat"]
HOUR = 3600


# 1. No fencing.


@pytest.mark.parametrize("verb", VERBS)
def test_1_whoever_lost_a_lease_cannot_touch_the_next_holders(
    client: FlaskClient, connection: Connection, verb: str
) -> None:
    late = added_and_leased(client)
    past(connection, "running", "lease_expires_at", HOUR)
    holder = lease_one(client)
    check_error(tell_by_token(client, verb, late), "conflict")
    assert get(client, holder["id"])["status"] == "running"
    # The true holder is not told that it has lost anything.
    for own in ("heartbeat", "ack"):
        assert tell_by_token(client, own, holder).status_code == 204


def test_1_an_id_alone_can_be_made_worthless(make_app: Callable[..., flask.Flask]) -> None:
    client = make_app(require_lease_token=True).test_client()
    job = added_and_leased(client)
    for verb in VERBS:
        check_error(tell(client, verb, job), "validation")
    assert get(client, job["id"])["status"] == "running"


# 2. A crash loop without end.


def test_2_a_job_that_kills_its_worker_comes_to_an_end(client: FlaskClient, connection: Connection) -> None:
    job_id = add(client, max_attempts=5)
    deaths = 0
    while lease(client):
        deaths += 1
        past(connection, "running", "lease_expires_at", HOUR)
        assert deaths <= 5
    assert (deaths, get(client, job_id)["status"]) == (5, "failed_permanent")


# 3. A window of keys that lost new work.


def test_3_new_work_under_an_old_key_is_new_work(client: FlaskClient, connection: Connection) -> None:
    first = add(client, idempotency_key="daily-report")
    past(connection, "idempotency_keys", "expires_at", 24 * HOUR)
    second = add(client, idempotency_key="daily-report")
    assert second != first
    assert {job["id"] for job in lease(client, 10)} == {first, second}


def test_3_keys_are_not_kept_for_ever(client: FlaskClient, connection: Connection) -> None:
    add(client, idempotency_key="k")
    assert retention.prune_keys(connection) == 0
    past(connection, "idempotency_keys", "expires_at", 24 * HOUR)
    assert retention.prune_keys(connection) == 1
    assert count(connection, "idempotency_keys") == 0


@pytest.mark.parametrize("changes", [{"payload": 2}, {"queue": "another"}])
def test_3_a_key_never_answers_with_the_job_of_another_request_or_queue(
    client: FlaskClient, changes: dict[str, Any]
) -> None:
    add(client, 1, idempotency_key="k")
    asked = {"queue": QUEUE, "payload": 1, "idempotency_key": "k", **changes}
    check_error(client.post("/v1/jobs", json=asked), "conflict")


# 4. Dead letters without a reason; an unknown id that is a conflict.


def test_4_a_dead_letter_says_why_it_died(client: FlaskClient) -> None:
    job = added_and_leased(client, max_attempts=1)
    tell(client, "fail", job, reason="the printer is on fire")
    (dead,) = client.get(f"/v1/admin/queues/{QUEUE}/dead").get_json()["jobs"]
    assert (dead["id"], dead["state"], dead["last_error"]) == (job["id"], "dead", "the printer is on fire")
    assert get(client, job["id"])["last_error"] == "the printer is on fire"


def test_4_the_next_holder_is_told_why_the_last_attempt_failed(client: FlaskClient) -> None:
    tell(client, "fail", added_and_leased(client), reason="no luck", retry_ms=0)
    assert lease_one(client)["last_error"] == "no luck"


@pytest.mark.parametrize("path", [*(f"/v1/jobs/{{}}/{verb}" for verb in VERBS), "/v1/admin/jobs/{}/requeue"])
def test_4_an_unknown_job_is_not_found(refused: FlaskClient, path: str) -> None:
    bodies = {"fail": {"reason": "no"}, "heartbeat": {"extend_ms": 1000}}
    response = refused.post(path.format(UNKNOWN), json=bodies.get(path.rpartition("/")[2], {}))
    check_error(response, "not_found")


# 9. Open to everybody, and too talkative.


def test_9_admin_is_not_open_because_its_token_was_forgotten(make_app: Callable[..., flask.Flask]) -> None:
    with pytest.raises(SettingsError, match="API_TOKEN"):
        AppSettings.from_env({"DATABASE_URL": "postgresql://h/d", "API_BIND_ADDR": "0.0.0.0:8080"})
    client = make_app(api_token="clients").test_client()
    bearer = {"Authorization": "Bearer clients"}
    check_error(client.get(f"/v1/admin/queues/{QUEUE}/depth", headers=bearer), "forbidden")
    check_error(client.get(f"/v1/admin/queues/{QUEUE}/depth"), "unauthorized")


def test_9_an_empty_token_is_no_token_and_locks_nobody_out(make_app: Callable[..., flask.Flask]) -> None:
    settings = AppSettings.from_env({"DATABASE_URL": "postgresql://h/d", "API_TOKEN": "", "ADMIN_TOKEN": " "})
    assert (settings.api_token, settings.admin_token) == (None, None)
    assert make_app().test_client().get(f"/v1/admin/queues/{QUEUE}/depth").status_code == 200


def test_9_a_failure_says_nothing_of_the_database(
    client: FlaskClient, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = add(client)
    connection.execute("alter function windlass.uuid7() rename to uuid8")
    connection.execute("alter table windlass.running add constraint never check (attempts = 0) not valid")
    answers = [
        client.post("/v1/jobs", json={"queue": QUEUE, "payload": None}),
        client.post("/v1/lease", json={"queue": QUEUE, "limit": 1, "lease_ms": 1000}),
    ]
    with caplog.at_level(logging.CRITICAL), pytest.MonkeyPatch.context() as patch:
        with client.application.app_context():
            patch.setattr(context.current().database, "connection", lambda: 1 / 0)
        answers.append(client.post("/v1/lease", json={"queue": QUEUE, "limit": 1, "lease_ms": 1000}))
    assert [answer.status_code for answer in answers] == [503, 422, 500]
    for answer in answers:
        for word in ("windlass", "relation", "function", "uuid", "never", "psycopg", "constraint", "division", job_id):
            assert word not in answer.text
    assert answers[-1].get_json() == {"error": "internal", "message": "internal server error"}


def test_9_probes_and_documentation_can_be_closed_too(make_app: Callable[..., flask.Flask]) -> None:
    client = make_app(api_token="clients", protect_metrics=True).test_client()
    for path in ("/metrics", "/docs", "/swagger-ui", "/api-docs/openapi.json"):
        check_error(client.get(path), "unauthorized")
        assert client.get(path, headers={"Authorization": "Bearer clients"}).status_code == 200


# 10. Numbers and names without bounds.


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        *(("/v1/lease", "limit", value) for value in (-1, 0, 1001, 2**31, 2**63)),
        *(("/v1/lease", "lease_ms", value) for value in (-1, 0, 99, 86_400_001, 2**31, 2**32 + 30_000)),
        *((f"/v1/jobs/{UNKNOWN}/heartbeat", "extend_ms", value) for value in (-1, 0, 99, 2**31, 2**32 + 30_000)),
        *((f"/v1/jobs/{UNKNOWN}/fail", "retry_ms", value) for value in (-1, 86_400_001, 2**31, 2**32 + 100)),
        *(("/v1/jobs", "max_attempts", value) for value in (-1, 0, 101, 2**31)),
        *(("/v1/jobs", "queue", value) for value in ("", "a b", "a\nb", "../etc", "x" * 129)),
        *(("/v1/jobs", "priority", value) for value in (-32769, 32768)),
    ],
)
def test_10_what_is_out_of_bounds_is_refused_by_its_name(
    refused: FlaskClient, path: str, field: str, value: object
) -> None:
    body = {
        "/v1/jobs": {"queue": QUEUE, "payload": None},
        "/v1/lease": {"queue": QUEUE, "limit": 1, "lease_ms": 1000},
    }.get(path, {"reason": "no"} if path.endswith("fail") else {})
    assert list(check_error(refused.post(path, json={**body, field: value}), "validation")["details"]) == [field]


# 11. No back-off, no cancel, no way to look, no result, no retention.


def test_11_a_job_can_be_read_listed_cancelled_and_keeps_its_result(client: FlaskClient) -> None:
    done, held, waiting = (added_and_leased(client), added_and_leased(client), add(client))
    assert tell_by_token(client, "ack", done, result={"pages": 3}).status_code == 204
    assert get(client, done["id"])["result"] == {"pages": 3}
    listed = client.get(f"/jobs?queue={QUEUE}").get_json()
    assert [job["status"] for job in listed] == ["queued", "running", "succeeded"]
    assert client.post(f"/jobs/{waiting}/cancel").status_code == 200
    assert client.post(f"/jobs/{held['id']}/cancel").status_code == 202
    assert tell_by_token(client, "heartbeat", held).headers["Windlass-Cancel-Requested"] == "true"
    assert tell_by_token(client, "release", held).status_code == 204
    assert [get(client, job_id)["status"] for job_id in (waiting, held["id"])] == ["cancelled", "cancelled"]


def test_11_a_holder_chooses_each_delay_so_that_it_can_back_off(client: FlaskClient, connection: Connection) -> None:
    add(client)
    for retry_ms in (1000, 3000, 9000):
        tell(client, "fail", lease_one(client), retry_ms=retry_ms)
        row = connection.fetch_one(
            "select round(extract(epoch from run_at - entered_at) * 1000)::int from windlass.ready"
        )
        assert row == (retry_ms,)
        past(connection, "ready", "run_at", 10)


def test_11_what_has_ended_is_deleted_after_its_time(client: FlaskClient, connection: Connection) -> None:
    tell(client, "ack", added_and_leased(client, idempotency_key="k"))
    assert retention.prune_done(connection, days=1) == 0
    assert retention.prune_done(connection, days=0) == 1
    assert [count(connection, table) for table in ("jobs", "done", "idempotency_keys")] == [0, 0, 0]


# 12. A gauge that lied, a counter that counted repeats, no labels, no latency.


def test_12_the_gauge_of_leases_is_the_truth(client: FlaskClient, connection: Connection) -> None:
    def gauge() -> float:
        return sample(client, "inflight_leases")

    for _ in range(5):
        add(client)
    jobs = lease(client, 3)
    assert (gauge(), len(lease(client, 1)), gauge()) == (3, 1, 4)
    lease(client, 1, queue="empty")
    assert gauge() == 4
    tell(client, "ack", jobs[0])
    tell(client, "fail", jobs[1])
    tell(client, "release", jobs[2])
    assert gauge() == 1 == count(connection, "running")


def test_12_repeats_are_not_counted_and_what_is_counted_has_labels(client: FlaskClient) -> None:
    labels = f'{{kind="external",queue="{QUEUE}"}}'
    before = sample(client, f"jobs_enqueued_total{labels}")
    for _ in range(3):
        add(client, idempotency_key="k")
    assert sample(client, f"jobs_enqueued_total{labels}") - before == 1


def test_12_requests_are_timed_by_route(client: FlaskClient) -> None:
    series = 'http_request_duration_seconds_count{method="POST",route="/v1/lease"}'
    before = sample(client, series)
    lease(client)
    assert sample(client, series) - before == 1


# 13. SIGTERM that skips draining.


def test_13_sigterm_answers_what_was_asked_and_ends(
    start_web: Callable[..., Web], connection: Connection, open_another: Callable[[], Connection]
) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    answers: list[int] = []
    blocker = open_another()
    with blocker.transaction():
        blocker.execute("lock table windlass.jobs in access exclusive mode")
        body = {"queue": QUEUE, "payload": None}
        asking = [
            threading.Thread(target=lambda: answers.append(web.request("POST", "/v1/jobs", body).status)) for _ in "ab"
        ]
        for thread in asking:
            thread.start()
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        until(lambda: connection.fetch_one(waiting) == (2,))
        started = time.monotonic()
        os.kill(web.process.pid, signal.SIGTERM)
    for thread in asking:
        thread.join(20)
    assert answers == [200, 200]
    assert web.process.wait(10) == 0
    assert time.monotonic() - started < 10
    assert count(connection, "jobs") == 2


def sample(client: FlaskClient, series: str) -> float:
    """The value of one series of `/metrics`, 0 where there is none."""
    values = [
        line.rpartition(" ")[2] for line in client.get("/metrics").text.splitlines() if line.startswith(f"{series} ")
    ]
    return float(values[0]) if values else 0.0
