"""The Procfile, started as a platform starts it: honcho gives each process a PORT, and KILLs 5 s after TERM.

honcho's TERM goes to the whole group, so every process of ours hears it and not only the first.
"""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from support.ports import free_port
from support.processes import ROOT
from support.service import HeldWebhooks, Running, Surroundings
from support.waiting import until

from sql import jobs
from sql.connection import connect
from sql.rows import Job

TOKEN = "token-of-the-procfile-test"
GRACE_SECONDS = 1
TEXT = "A windlass lifts an anchor. The rope winds around a drum. The crew turns the crank."


@pytest.fixture
def surroundings(empty_database_url: str) -> Iterator[Surroundings]:
    """A platform's environment: a database without a schema, a token, a short grace, and no address but PORT."""
    made = Surroundings(
        DATABASE_URL=empty_database_url,
        API_TOKEN=TOKEN,
        SHUTDOWN_GRACE_SECONDS=str(GRACE_SECONDS),
        # Two pools on one machine: each takes a free port for its metrics.
        WORKER_METRICS_BIND_ADDR="127.0.0.1:0",
        WEBHOOK_SECRET="whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbm90IGEgcmVhbCBvbmU=",
    )
    del made.environ["API_BIND_ADDR"]
    yield made
    made.clear()


def _enqueue(port: int, wanted: list[dict[str, Any]]) -> list[str]:
    answer = urllib3.request(
        "POST",
        f"http://127.0.0.1:{port}/jobs/bulk",
        json={"jobs": wanted},
        headers={"Authorization": f"Bearer {TOKEN}", "Connection": "close"},
    )
    assert answer.status == 200, answer.data
    results = answer.json()["results"]
    assert {result["status"] for result in results} == {201}
    return [result["job"]["id"] for result in results]


def _jobs(surroundings: Surroundings, ids: list[str]) -> list[Job]:
    connection = connect(surroundings.environ["DATABASE_URL"], application_name="tests")
    try:
        found = jobs.find_many(connection, ids)
        assert found.keys() == set(ids)
        return list(found.values())
    finally:
        connection.close()


def _succeeded(surroundings: Surroundings, ids: list[str]) -> bool:
    return all(job.status == "succeeded" for job in _jobs(surroundings, ids))


def _honcho(surroundings: Surroundings, *arguments: str) -> Running:
    return surroundings.start("-f", str(ROOT / "Procfile"), "start", *arguments, program="honcho")


def test_release_then_two_of_each_run_jobs_and_term_strands_nothing(surroundings: Surroundings) -> None:
    release = _honcho(surroundings, "release")
    assert release.wait(60) == 0, release.output
    assert "applied 0001_jobs" in release.output

    with HeldWebhooks() as webhooks:
        surroundings.environ["WEBHOOK_ALLOW_NETS"] = f"127.0.0.1/32:{webhooks.port}"
        port = free_port(in_a_row=2)
        platform = _honcho(surroundings, "-p", str(port), "-c", "web=2,worker=2", "web", "worker")
        until(lambda: platform.output.count("Booting worker") == 2, 60, "both webs serve")
        until(lambda: platform.output.count("registered as worker") == 4, 60, "both pools work")
        short = {"kind": "summarize_text", "payload": {"text": TEXT}}
        # Longer than the grace: it must be given back.
        long = {"kind": "webhook_delivery", "payload": {"url": webhooks.url, "timeout_seconds": 60}}
        first = [*_enqueue(port, [short] * 50), *_enqueue(port + 1, [short] * 50)]
        until(lambda: _succeeded(surroundings, first), 30)
        held = _enqueue(port, [long] * 2)
        until(lambda: webhooks.arrived == 2, 20, "two jobs run for as long as we like")
        # The rest of the workers is at these when the signal comes.
        rest = [*_enqueue(port, [short] * 300), *_enqueue(port + 1, [short] * 300)]

        platform.signal(signal.SIGTERM)
        platform.wait(20)
        # The exit codes honcho tells are those of the shells it started; ours are told by what is left to be done.
        assert platform.output.count("sending SIGTERM") == 4, platform.output
        assert "SIGKILL" not in platform.output
        assert surroundings.everybody() == []

        assert {(job.status, job.attempts) for job in _jobs(surroundings, held)} == {("queued", 0)}
        assert {job.status for job in _jobs(surroundings, rest)} <= {"queued", "succeeded"}
        assert {job.attempts for job in _jobs(surroundings, rest) if job.status == "queued"} <= {0}
        webhooks.let_go.set()

        again = _honcho(surroundings, "worker")
        until(lambda: _succeeded(surroundings, [*held, *rest]), 30)
        assert {job.attempts for job in _jobs(surroundings, [*first, *held, *rest])} == {1}
        again.end()
    assert surroundings.run("check").stdout == "no problem found\n"
