"""Workers over HTTP: lease, and what is said of a lease. Who has no answer says the same again, with the same token."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from faults.harness.stage import Stage
from flask.testing import FlaskClient
from support.work import past

from sql import jobs

_QUEUE = "tasks"
_TERMS = {"queue": _QUEUE, "limit": 10, "lease_ms": 60_000}


def _lease(stage: Stage, client: FlaskClient) -> list[dict[str, Any]]:
    answer = stage.ask(client, "/v1/lease", _TERMS)
    assert answer.status == 200
    leased: list[dict[str, Any]] = answer.json["jobs"]
    return leased


def _one_leased(stage: Stage, client: FlaskClient, **facts: Any) -> dict[str, Any]:
    stage.ask(client, "/v1/jobs", {"queue": _QUEUE, "payload": None, **facts})
    (job,) = _lease(stage, client)
    return job


def lease(stage: Stage) -> Iterator[None]:
    client = stage.web()
    wanted = stage.add(3, queue=_QUEUE, kind="external", payload="{}")
    yield
    told = _lease(stage, client)
    yield
    assert stage.ids("ready") == []
    # A lease whose holder was never told of it ends like any other, and the job goes to the next.
    told_of = [job["id"] for job in told]
    stage.admin.execute(
        "update windlass.running set lease_expires_at = now() - interval '1 hour' where not id = any(%(ids)s::uuid[])",
        ids=told_of,
    )
    later = _lease(stage, client)
    assert sorted(told_of + [job["id"] for job in later]) == wanted
    assert {job["attempts"] for job in told} <= {1}
    assert {(job["attempts"], job["last_error"]) for job in later} <= {(2, "lease expired")}
    tokens = [job["lease_token"] for job in (*told, *later)]
    for job, token in zip((*told, *later), tokens, strict=True):
        assert stage.ask(client, f"/v1/jobs/{job['id']}/ack", {"lease_token": token}).status == 204


def ack(stage: Stage, *, again: bool = False) -> Iterator[None]:
    client = stage.web()
    job = _one_leased(stage, client)
    body = {"lease_token": job["lease_token"], "result": {"n": 1}}
    if again:
        # A first answer was lost between the service and the holder.
        assert stage.ask(client, f"/v1/jobs/{job['id']}/ack", body).status == 204
    yield
    answer = stage.ask(client, f"/v1/jobs/{job['id']}/ack", body)
    yield
    assert answer.status == 204
    assert stage.facts(job["id"]) == [("succeeded", 1, None)]
    assert stage.job(job["id"]).result == '{"n": 1}'
    _answers_as_before(stage, client, job, "ack", body)


def fail(stage: Stage) -> Iterator[None]:
    yield from _fail(stage, {"reason": "boom", "retry_ms": 60_000}, "retrying")


def fail_for_good(stage: Stage) -> Iterator[None]:
    yield from _fail(stage, {"reason": "boom", "permanent": True}, "failed_permanent")


def _fail(stage: Stage, report: dict[str, Any], status: str) -> Iterator[None]:
    client = stage.web()
    job = _one_leased(stage, client)
    body = {"lease_token": job["lease_token"], **report}
    yield
    answer = stage.ask(client, f"/v1/jobs/{job['id']}/fail", body)
    yield
    assert answer.status == 204
    assert stage.facts(job["id"]) == [(status, 1, "boom")]
    assert len(stage.ids("failures")) == 1
    _answers_as_before(stage, client, job, "fail", body)


def release(stage: Stage) -> Iterator[None]:
    client = stage.web()
    job = _one_leased(stage, client)
    body = {"lease_token": job["lease_token"]}
    yield
    answer = stage.ask(client, f"/v1/jobs/{job['id']}/release", body)
    yield
    assert answer.status == 204
    assert stage.facts(job["id"]) == [("queued", 0, None)]
    _answers_as_before(stage, client, job, "release", body)


def release_what_is_cancelled(stage: Stage) -> Iterator[None]:
    client = stage.web()
    job = _one_leased(stage, client)
    assert jobs.cancel(stage.admin, job["id"]) == "flagged"
    body = {"lease_token": job["lease_token"]}
    yield
    answer = stage.ask(client, f"/v1/jobs/{job['id']}/release", body)
    yield
    assert answer.status == 204
    assert stage.facts(job["id"]) == [("cancelled", 0, None)]
    _answers_as_before(stage, client, job, "release", body)


def heartbeat(stage: Stage) -> Iterator[None]:
    client = stage.web()
    job = _one_leased(stage, client)
    past(stage.admin, "running", "lease_expires_at", 3600)
    body = {"lease_token": job["lease_token"], "extend_ms": 60_000, "progress": 5}
    yield
    answer = stage.ask(client, f"/v1/jobs/{job['id']}/heartbeat", body)
    yield
    assert answer.status == 204
    assert stage.facts(job["id"]) == [("running", 1, None)]
    assert stage.job(job["id"]).progress == "5"
    held = "select count(*) from windlass.running where lease_expires_at > now() + interval '50 seconds'"
    assert stage.admin.fetch_one(held) == (1,)


def _answers_as_before(stage: Stage, client: FlaskClient, job: dict[str, Any], verb: str, body: dict[str, Any]) -> None:
    before = stage.job(job["id"])
    assert stage.ask(client, f"/v1/jobs/{job['id']}/{verb}", body).status == 204
    assert stage.job(job["id"]) == before
    # One settle a fence: no other is taken any more.
    other = "ack" if verb != "ack" else "release"
    assert stage.ask(client, f"/v1/jobs/{job['id']}/{other}", {"lease_token": job["lease_token"]}).status == 409
    assert stage.job(job["id"]) == before


OPERATIONS = {
    "POST /v1/lease": lease,
    "POST /v1/…/ack": ack,
    "POST /v1/…/ack, sent again": partial(ack, again=True),
    "POST /v1/…/fail": fail,
    "POST /v1/…/fail, permanent": fail_for_good,
    "POST /v1/…/release": release,
    "POST /v1/…/release, cancelled": release_what_is_cancelled,
    "POST /v1/…/heartbeat": heartbeat,
}
