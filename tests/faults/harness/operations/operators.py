"""What operators and clients ask for. None of it is a settle, so a repetition may be told that it is done already."""

import os
from collections.abc import Iterator

from faults.harness.stage import Answer, Stage
from support.work import claim_one

from sql import leases, queues, tokens
from sql.leases import Failure

_KIND = "external"


def _is_done(answer: Answer, status: int) -> bool:
    """As it should be, or a conflict with what an unanswered try has done."""
    return answer.status == status or (answer.status == 409 and answer.unknown > 0)


def _dead(stage: Stage, count: int = 1) -> list[str]:
    ids = stage.add(count, kind=_KIND)
    for _ in ids:
        leases.fail(stage.admin, None, [Failure(claim_one(stage.admin, kinds=[_KIND]), "boom", permanent=True)])
    return ids


def cancel(stage: Stage) -> Iterator[None]:
    client = stage.web()
    (job_id,) = stage.add()
    yield
    answer = stage.ask(client, f"/jobs/{job_id}/cancel", {})
    yield
    assert _is_done(answer, 200)
    assert stage.facts(job_id) == [("cancelled", 0, None)]


def cancel_running(stage: Stage) -> Iterator[None]:
    client = stage.web()
    (job_id,) = stage.add(kind=_KIND)
    lease = claim_one(stage.admin, kinds=[_KIND])
    yield
    answer = stage.ask(client, f"/jobs/{job_id}/cancel", {})
    yield
    assert answer.status == 202
    assert stage.job(job_id).cancel_requested
    assert leases.release(stage.admin, None, [lease]) == {job_id}
    assert stage.facts(job_id) == [("cancelled", 0, None)]


def retry(stage: Stage) -> Iterator[None]:
    client = stage.web()
    (job_id,) = _dead(stage)
    yield
    answer = stage.ask(client, f"/jobs/{job_id}/retry", {})
    yield
    assert _is_done(answer, 200)
    assert stage.facts(job_id) == [("queued", 0, None)]


def requeue(stage: Stage) -> Iterator[None]:
    client = stage.web()
    (job_id,) = _dead(stage)
    yield
    answer = stage.ask(client, f"/v1/admin/jobs/{job_id}/requeue", {})
    yield
    assert _is_done(answer, 204)
    assert stage.facts(job_id) == [("queued", 0, None)]


def redrive(stage: Stage) -> Iterator[None]:
    client = stage.web()
    ids = _dead(stage, 3)
    yield
    answer = stage.ask(client, "/v1/admin/queues/default/redrive", {"error_contains": "boo"})
    yield
    assert answer.status == 200
    # The first try may be about to commit, so that the second finds the jobs and leaves them to it.
    assert answer.json["requeued"] == 3 or (answer.unknown and answer.json["requeued"] == 0)
    assert stage.facts(*ids) == [("queued", 0, None)] * 3
    assert stage.ids("done") == []
    assert len(stage.ids("failures")) == 3


def pause(stage: Stage) -> Iterator[None]:
    client = stage.web()
    stage.add(kind=_KIND)
    yield
    answer = stage.ask(client, "/v1/admin/queues/default/pause", {})
    yield
    assert answer.status == 204
    assert leases.streams(stage.admin, "default", [_KIND]) == []


def resume(stage: Stage) -> Iterator[None]:
    client = stage.web()
    stage.add(kind=_KIND)
    queues.pause(stage.admin, "default")
    yield
    answer = stage.ask(client, "/v1/admin/queues/default/resume", {})
    yield
    assert answer.status == 204
    assert len(leases.streams(stage.admin, "default", [_KIND])) == 1


def revoke_token(stage: Stage) -> Iterator[None]:
    """A token is used, and then revoked."""
    session = stage.session()
    digest = os.urandom(32)
    token = tokens.add(stage.admin, "tests", ["read"], digest)
    yield
    session.run(lambda conn: tokens.find(conn, digest))
    session.run(lambda conn: tokens.note_use(conn, token))
    session.run(lambda conn: tokens.revoke(conn, token))
    yield
    assert not tokens.revoke(stage.admin, token)
    assert not tokens.any_live(stage.admin)


OPERATIONS = {
    "POST /jobs/…/cancel": cancel,
    "POST /jobs/…/cancel, running": cancel_running,
    "POST /jobs/…/retry": retry,
    "POST /v1/admin/…/requeue": requeue,
    "POST /v1/admin/…/redrive": redrive,
    "POST /v1/admin/…/pause": pause,
    "POST /v1/admin/…/resume": resume,
    "revoke a token": revoke_token,
}
