"""A client made from our OpenAPI document by a public generator works against the service."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.web import Web, running_web

PACKAGE = "windlass_generated_client"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@pytest.fixture
def web(tmp_path: Path, database_url: str) -> Iterator[Web]:
    with running_web(tmp_path, database_url) as web:
        yield web


@pytest.fixture
def module(web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports modules of the generated client, which is made once."""
    if not (folder / PACKAGE).exists():
        document = folder / "openapi.json"
        document.write_bytes(web.request("GET", "/api-docs/openapi.json").data)
        made = subprocess.run(
            [Path(sys.executable).with_name("openapi-python-client"), "generate", "--meta", "none",
             "--path", document, "--output-path", folder / PACKAGE],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        # It says so when it had to leave something of the document out.
        assert "WARNING parsing" not in made.stdout + made.stderr, made.stdout + made.stderr
    monkeypatch.syspath_prepend(str(folder))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(f"{PACKAGE}.{name}")

    return imported


def test_the_generated_client_enqueues_reads_lists_and_cancels(web: Web, module: Any) -> None:
    models = module("models")
    with module("client").Client(base_url=web.url) as client:
        wanted = models.NewJobSummarizeText.from_dict(
            {"kind": "summarize_text", "payload": {"text": "One. Two. Three."}, "priority": 3}
        )
        created = module("api.jobs.post_jobs").sync_detailed(client=client, body=wanted, idempotency_key="once")
        assert created.status_code == 201
        assert created.headers["Location"] == f"/jobs/{created.parsed.id}"
        assert (created.parsed.status, created.parsed.priority, created.parsed.attempts) == ("queued", 3, 0)
        again = module("api.jobs.post_jobs").sync_detailed(client=client, body=wanted, idempotency_key="once")
        assert (again.status_code, again.parsed.id) == (200, created.parsed.id)

        found = module("api.jobs.get_jobs_job_id").sync(client=client, job_id=created.parsed.id)
        assert found.to_dict() == created.parsed.to_dict()
        listed = module("api.jobs.get_jobs").sync(client=client, kind=models.GetJobsKind.SUMMARIZE_TEXT)
        assert [job.id for job in listed] == [created.parsed.id]
        ended = module("api.jobs.post_jobs_job_id_cancel").sync(client=client, job_id=created.parsed.id)
        assert ended.to_dict() == {"status": "cancelled", "job_id": str(created.parsed.id)}


def test_the_generated_client_reads_refusals_as_typed_errors(web: Web, module: Any) -> None:
    with module("client").Client(base_url=web.url) as client:
        unknown = "00000000-0000-7000-8000-000000000000"
        missing = module("api.jobs.get_jobs_job_id").sync_detailed(client=client, job_id=unknown)
        assert (missing.status_code, missing.parsed.error) == (404, "not_found")
        wrong = module("models").NewJobSummarizeText.from_dict({"kind": "summarize_text", "payload": {"text": ""}})
        refused = module("api.jobs.post_jobs").sync_detailed(client=client, body=wrong)
        assert (refused.status_code, refused.parsed.error) == (422, "validation")
        assert "payload.text" in refused.parsed.details.to_dict()


def added_and_dead(web: Web) -> str:
    """A job of queue `default` that died of `boom`; its id."""
    job_id: str = web.post_job().json()["id"]
    web.request("POST", "/v1/lease", {"queue": "default", "limit": 1, "lease_ms": 60_000})
    ended = web.request("POST", f"/v1/jobs/{job_id}/fail", {"reason": "boom", "permanent": True})
    assert ended.status == 204, ended.data
    return job_id


def test_the_generated_client_pauses_looks_and_redrives(web: Web, module: Any) -> None:
    models = module("models")
    with module("client").Client(base_url=web.url) as client:
        died = added_and_dead(web)
        paused = module("api.admin.post_v1_admin_queues_queue_pause").sync_detailed("default", client=client)
        assert paused.status_code == 204
        seen = module("api.admin.get_v1_admin_queues").sync(client=client)
        assert [(queue.queue, queue.depth, queue.paused_at is None) for queue in seen.queues] == [("default", 0, False)]
        dead = module("api.admin.get_v1_admin_queues_queue_dead").sync("default", client=client, limit=5)
        (letter,) = dead.jobs
        assert (dead.queue, letter.state, letter.leased_until) == ("default", "dead", None)
        assert (str(letter.id), letter.last_error) == (died, "boom")
        asked = models.Redrive(error_contains="boom", dry_run=True)
        done = module("api.admin.post_v1_admin_queues_queue_redrive").sync("default", client=client, body=asked)
        assert done.to_dict() == {"matched": 1, "requeued": 0}
        refused = module("api.admin.get_v1_admin_queues_queue_depth").sync("no queue", client=client)
        assert refused.error == "validation"


def test_the_generated_client_works_over_leases(web: Web, module: Any) -> None:
    models = module("models")
    with module("client").Client(base_url=web.url) as client:

        def call(operation: str, **arguments: Any) -> Any:
            return module(f"api.leases.post_v1_{operation}").sync_detailed(client=client, **arguments)

        wanted = models.NewLeasableJob.from_dict({"queue": "tasks", "payload": {"n": 1}, "max_attempts": None})
        added = call("jobs", body=wanted, idempotency_key="once").parsed.job_id
        asked = models.LeaseRequest(queue="tasks", limit=5, lease_ms=60_000)
        (job,) = call("lease", body=asked).parsed.jobs
        assert (job.id, job.state, job.attempts, job.last_error) == (added, "leased", 1, None)
        mine = {"job_id": job.id}
        beat = models.Heartbeat.from_dict({"extend_ms": 60_000, "lease_token": job.lease_token, "progress": 50})
        assert call("jobs_job_id_heartbeat", **mine, body=beat).status_code == 204
        failure = models.Fail.from_dict({"reason": "no", "retry_ms": 0, "lease_token": job.lease_token})
        assert call("jobs_job_id_fail", **mine, body=failure).status_code == 204
        (again,) = call("lease", body=asked).parsed.jobs
        assert (again.id, again.last_error, again.lease_token == job.lease_token) == (added, "no", False)
        stale = call("jobs_job_id_ack", **mine, body=models.Ack.from_dict({"lease_token": job.lease_token}))
        assert (stale.status_code, stale.parsed.error) == (409, "conflict")
        assert call("jobs_job_id_release", **mine, body=models.Release()).status_code == 204
        (third,) = call("lease", body=asked).parsed.jobs
        done = models.Ack.from_dict({"lease_token": third.lease_token, "result": [1]})
        assert call("jobs_job_id_ack", **mine, body=done).status_code == 204
        assert web.request("GET", f"/jobs/{added}").json()["result"] == [1]
