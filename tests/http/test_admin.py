"""`/v1/admin`: queues counted, paused and resumed; dead letters listed and redriven."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.http import check_error, created, get
from support.waiting import until
from support.work import add, claim, claim_one, look, past
from werkzeug.test import TestResponse

from sql import hints, leases, queues
from sql.connection import Connection
from sql.leases import Failure

UNKNOWN = "01a200c6-e47b-72f2-a97e-1600febf64d7"
DEAD_FIELDS = (
    "id queue payload state attempts max_attempts run_at leased_until priority created_at updated_at kind last_error"
    " timeout_seconds"
)
BAD_QUEUES = ["a b", "a%00", "caf\u00e9", "a" * 129, "a%0a", "%20", "a,b", "%F0%9F%98%80", "*", "a%25"]


def dead(conn: Connection, error: str = "boom", **facts: Any) -> str:
    job_id = add(conn, **{"kind": "external", **facts})
    kinds, queue = [facts.get("kind", "external")], facts.get("queue", "default")
    leases.fail(conn, None, [Failure(claim_one(conn, kinds=kinds, queue=queue), error, permanent=True)])
    return job_id


def nothing(response: TestResponse) -> None:
    assert (response.status_code, response.data) == (204, b""), response.text
    assert "Content-Type" not in response.headers


def test_depth_is_the_number_of_jobs_that_are_due(client: FlaskClient, connection: Connection) -> None:
    created(client)
    created(client)
    created(client, run_at="2999-01-01T00:00:00Z")
    created(client, queue="other")
    claim_one(connection, kinds=["external"])
    answer = client.get("/v1/admin/queues/default/depth")
    assert (answer.status_code, answer.get_json()) == (200, {"queue": "default", "depth": 1})
    assert list(answer.get_json()) == ["queue", "depth"]
    nothing(client.post("/v1/admin/queues/default/pause"))
    assert client.get("/v1/admin/queues/default/depth").get_json()["depth"] == 1
    # A queue is whatever is called one.
    assert client.get("/v1/admin/queues/nobody:s/depth").get_json() == {"queue": "nobody:s", "depth": 0}


def test_the_overview_has_one_line_for_each_queue(client: FlaskClient, connection: Connection) -> None:
    assert client.get("/v1/admin/queues").get_json() == {"queues": []}
    created(client)
    past(connection, "ready", "run_at", 30)
    created(client, queue="later", run_at="2999-01-01T00:00:00Z")
    nothing(client.post("/v1/admin/queues/idle/pause"))
    default, idle, later = client.get("/v1/admin/queues").get_json()["queues"]
    assert list(default) == ["queue", "depth", "queued", "retrying", "running", "oldest_ready_seconds", "paused_at"]
    assert default["oldest_ready_seconds"] == pytest.approx(30, abs=10)
    assert {**default, "oldest_ready_seconds": 0} == {
        "queue": "default", "depth": 1, "queued": 1, "retrying": 0, "running": 0,
        "oldest_ready_seconds": 0, "paused_at": None,
    }  # fmt: skip
    assert (idle["queue"], idle["depth"], idle["oldest_ready_seconds"]) == ("idle", 0, None)
    assert idle["paused_at"].endswith("Z")
    assert (later["depth"], later["queued"], later["oldest_ready_seconds"]) == (0, 1, None)


def test_a_paused_queue_hands_out_nothing_until_it_is_resumed(client: FlaskClient, connection: Connection) -> None:
    job_id = created(client)["id"]
    for _ in range(2):
        nothing(client.post("/v1/admin/queues/default/pause"))
        assert claim(connection, kinds=["external"]) == []
    assert created(client)["status"] == "queued"
    for _ in range(2):
        nothing(client.post("/v1/admin/queues/default/resume"))
    assert claim_one(connection, kinds=["external"]).id == job_id


def test_the_dead_are_listed_newest_death_first_with_the_reason(client: FlaskClient, connection: Connection) -> None:
    first = dead(connection, "Fehler: \u00fc\n\x1b[31m", payload='{"n": [1, null]}', priority=3)
    second = dead(connection, "second")
    dead(connection, queue="other")
    client.post(f"/jobs/{created(client)['id']}/cancel")
    answer = client.get("/v1/admin/queues/default/dead")
    assert answer.status_code == 200
    body = answer.get_json()
    assert list(body) == ["queue", "jobs"]
    assert body["queue"] == "default"
    assert [job["id"] for job in body["jobs"]] == [second, first]
    shown = body["jobs"][1]
    assert list(shown) == DEAD_FIELDS.split()
    job = get(client, first)
    assert shown == {
        **{name: job[name] for name in DEAD_FIELDS.split() if name in job}, "state": "dead", "leased_until": None,
    }  # fmt: skip
    assert (shown["last_error"], shown["payload"]) == ("Fehler: \u00fc\n\x1b[31m", {"n": [1, None]})
    assert shown["updated_at"] == job["finished_at"]
    assert client.get("/v1/admin/queues/nobodys/dead").get_json() == {"queue": "nobodys", "jobs": []}


def test_a_dead_job_whose_payload_cannot_be_read_spoils_nothing(client: FlaskClient, connection: Connection) -> None:
    dead(connection, payload='{"n": 1e5000}')
    dead(connection)
    jobs = client.get("/v1/admin/queues/default/dead").get_json()["jobs"]
    assert [list(job["payload"]) for job in jobs] == [[], ["unreadable"]]


def test_the_limit_of_the_list_is_clamped(client: FlaskClient, connection: Connection) -> None:
    ids = [dead(connection) for _ in range(51)]
    path = "/v1/admin/queues/default/dead"
    assert [job["id"] for job in client.get(path).get_json()["jobs"]] == ids[:0:-1]
    for limit, expected in (("2", 2), ("0", 1), ("-5", 1), ("501", 51), ("9" * 20, 51), ("-" + "9" * 20, 1)):
        assert len(client.get(f"{path}?limit={limit}").get_json()["jobs"]) == expected
    for query in ("limit=x", "limit=1.5", "limit=", "limit=1&limit=2", "limits=1"):
        check_error(client.get(f"{path}?{query}"), "validation")


def test_requeue_redrives_a_dead_job_and_refuses_any_other(client: FlaskClient, connection: Connection) -> None:
    job_id = dead(connection)
    nothing(client.post(f"/v1/admin/jobs/{job_id.upper()}/requeue"))
    job = get(client, job_id)
    assert (job["status"], job["attempts"], job["last_error"], job["finished_at"]) == ("queued", 0, None, None)
    check_error(client.post(f"/v1/admin/jobs/{job_id}/requeue"), "conflict")
    lease = claim_one(connection, kinds=["external"])
    check_error(client.post(f"/v1/admin/jobs/{job_id}/requeue"), "conflict")
    leases.ack(connection, None, [(lease, None)])
    check_error(client.post(f"/v1/admin/jobs/{job_id}/requeue"), "conflict")
    ended = created(client)["id"]
    client.post(f"/jobs/{ended}/cancel")
    # `POST /jobs/{id}/retry` takes a cancelled one too; S2's requeue knows only the dead.
    check_error(client.post(f"/v1/admin/jobs/{ended}/requeue"), "conflict")
    assert get(client, ended)["status"] == "cancelled"
    check_error(client.post(f"/v1/admin/jobs/{UNKNOWN}/requeue"), "not_found")
    check_error(client.post("/v1/admin/jobs/nope/requeue"), "not_found")


def redrive(client: FlaskClient, queue: str = "default", **asked: Any) -> tuple[int, int]:
    answer = client.post(f"/v1/admin/queues/{queue}/redrive", json=asked)
    assert answer.status_code == 200, answer.text
    assert list(answer.get_json()) == ["matched", "requeued"]
    return answer.get_json()["matched"], answer.get_json()["requeued"]


def test_redrive_takes_the_dead_of_a_queue_oldest_death_first(client: FlaskClient, connection: Connection) -> None:
    ids = [dead(connection) for _ in range(3)]
    dead(connection, queue="other")
    assert redrive(client, limit=2) == (3, 2)
    assert [look(connection, job_id).status for job_id in ids] == ["queued", "queued", "failed_permanent"]
    answer = client.post("/v1/admin/queues/default/redrive")
    assert answer.get_json() == {"matched": 1, "requeued": 1}
    assert redrive(client) == (0, 0)


def test_redrive_takes_those_that_pass_all_filters(client: FlaskClient, connection: Connection) -> None:
    fits = dead(connection, "timeout after 5 s", kind="webhook_delivery")
    others = [dead(connection, "timeout after 5 s"), dead(connection, "Timeout", kind="webhook_delivery")]
    asked = {"kind": "webhook_delivery", "error_contains": "timeout"}
    assert redrive(client, **asked, dry_run=True) == (1, 0)
    assert look(connection, fits).status == "failed_permanent"
    assert redrive(client, **asked, dry_run=False) == (1, 1)
    assert [look(connection, job_id).status for job_id in (fits, *others)] == ["queued", *["failed_permanent"] * 2]
    assert redrive(client, limit=None, kind=None, error_contains=None, dry_run=None) == (2, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0), ("limit", 10_001), ("limit", -1), ("limit", True), ("limit", "1"), ("limit", 1.0),
        ("kind", ""), ("kind", 1), ("kind", "a b"), ("error_contains", ""), ("error_contains", 5),
        ("error_contains", "x" * 1001), ("dry_run", 1), ("dry_run", "true"), ("dry_run", 0), ("queue", "x"),
        ("older_than", 1),
    ],
)  # fmt: skip
def test_a_redrive_that_makes_no_sense_is_refused_by_name(refused: FlaskClient, field: str, value: object) -> None:
    body = check_error(refused.post("/v1/admin/queues/default/redrive", json={field: value}), "validation")
    assert list(body["details"]) == [field]
    assert body["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("name", BAD_QUEUES)
def test_a_queue_that_can_have_no_such_name_is_refused_with_the_rule(refused: FlaskClient, name: str) -> None:
    for method, verb in (("GET", "depth"), ("GET", "dead"), ("POST", "redrive"), ("POST", "pause"), ("POST", "resume")):
        body = check_error(refused.open(f"/v1/admin/queues/{name}/{verb}", method=method), "validation")
        assert "1 to 128 of the characters A-Z a-z 0-9 . _ : -" in body["message"]
    # A slash makes another path of it.
    check_error(refused.get("/v1/admin/queues/a%2Fb/depth"), "not_found")


@pytest.mark.parametrize("path", [f"jobs/{UNKNOWN}/requeue", "queues/default/pause", "queues/default/resume"])
def test_a_body_that_says_nothing_may_have_any_type_and_one_that_does_is_refused(
    client: FlaskClient, path: str
) -> None:
    expected = 404 if path.endswith("requeue") else 204
    for sent in ({}, {"data": b"", "content_type": "text/plain"}, {"json": {}}):
        assert client.post(f"/v1/admin/{path}", **sent).status_code == expected  # type: ignore[arg-type]
    check_error(client.post(f"/v1/admin/{path}", json={"force": True}), "validation")
    check_error(client.post(f"/v1/admin/{path}", data=b"x"), "unsupported_media_type")


@pytest.fixture
def heard(open_another: Callable[[], Connection]) -> Callable[[], int]:
    """How many jobs the pools were told of so far."""
    listening = open_another()
    hints.listen(listening)
    counts: list[int] = []

    def hear() -> int:
        counts.extend(map(int, listening.notifications()))
        return sum(counts)

    return hear


def test_pools_hear_of_what_can_run_again(
    client: FlaskClient, connection: Connection, heard: Callable[[], int]
) -> None:
    ids = [dead(connection) for _ in range(3)]
    client.post(f"/v1/admin/jobs/{ids[0]}/requeue")
    until(lambda: heard() == 1)
    redrive(client, dry_run=True)
    redrive(client, limit=2)
    until(lambda: heard() == 3)
    queues.pause(connection, "default")
    client.post("/v1/admin/queues/default/resume")
    until(lambda: heard() == 6)
