"""What `/metrics` says: over all workers, through their deaths, and equal to the tables."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from support.http import created, post
from support.waiting import until
from support.web import Sample, Web
from support.work import at_once, claim_one, count, past

from sql import leases
from sql.connection import Connection
from sql.leases import Failure

COUNTING = ("_total", "_count", "_bucket", "_sum")


def counters(samples: dict[Sample, float]) -> dict[Sample, float]:
    return {sample: value for sample, value in samples.items() if sample[0].endswith(COUNTING)}


def fallen(before: dict[Sample, float], after: dict[Sample, float]) -> list[Sample]:
    return [sample for sample, value in counters(before).items() if after.get(sample, 0.0) < value]


def metric_files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("metrics/windlass-web-*/*.db"))


def kill(web: Web, pid: int) -> None:
    """SIGKILL, and wait until another has taken its place."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(web.workers()) - {pid}) == 2, seconds=20)


def test_the_counters_of_two_workers_are_one(start_web: Callable[..., Web], connection: Connection) -> None:
    web = start_web(WEB_CONCURRENCY="2", WEB_THREADS="4")
    answers = at_once(*[lambda n=n: web.post_job(queue=f"q{n % 2}").status for n in range(40)])
    assert answers == [201] * 40
    for queue in ("q0", "q1"):
        assert web.value("jobs_enqueued_total", queue=queue, kind="external") == 20
        assert web.value("queue_depth", queue=queue, status="queued") == 20
    for _ in range(5):
        # Whichever worker answers, it knows of all.
        assert web.value("http_requests_total", method="POST", route="/jobs", status="201") == 40
    assert count(connection, "jobs") == 40


def test_counters_never_fall_and_files_stay_few_whichever_worker_is_killed(
    start_web: Callable[..., Web], tmp_path: Path
) -> None:
    web = start_web(WEB_CONCURRENCY="2", WEB_THREADS="4")
    at_once(*[lambda: web.post_job()] * 20)
    before, files = web.samples(), metric_files(tmp_path)
    for death in range(6):
        kill(web, web.workers()[death % 2])
        assert {answer.status for answer in at_once(*[lambda: web.post_job()] * 10)} == {201}
        after = web.samples()
        assert fallen(before, after) == []
        before = after
    assert web.value("jobs_enqueued_total", queue="default", kind="external") == 80
    assert set(metric_files(tmp_path)) <= set(files) | {
        f"{kind}_web{n}.db" for kind in ("counter", "histogram") for n in (0, 1)
    }


def test_a_worker_more_and_a_worker_fewer_keep_the_count(start_web: Callable[..., Web], tmp_path: Path) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    at_once(*[lambda: web.post_job()] * 20)
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTIN, signal.SIGTTOU):
        workers = 3 if number == signal.SIGTTIN else 2
        web.process.send_signal(number)
        until(lambda n=workers: len(web.workers()) == n, seconds=20)
        at_once(*[lambda: web.post_job()] * 5)
    assert web.value("jobs_enqueued_total", queue="default", kind="external") == 40
    # Two kinds of file for each of at most three slots and the process that forks.
    assert len(metric_files(tmp_path)) <= 8


def test_a_reload_keeps_the_count(start_web: Callable[..., Web], tmp_path: Path) -> None:
    web = start_web(WEB_CONCURRENCY="2")
    at_once(*[lambda: web.post_job()] * 20)
    for _ in range(3):
        old = set(web.workers())
        web.process.send_signal(signal.SIGHUP)
        until(lambda old=old: len(web.workers()) == 2 and not old & set(web.workers()), seconds=30)
        at_once(*[lambda: web.post_job()] * 5)
    assert web.value("jobs_enqueued_total", queue="default", kind="external") == 35
    assert len(metric_files(tmp_path)) <= 10


def test_the_metrics_folder_is_private_and_goes_with_the_service(start_web: Callable[..., Web], tmp_path: Path) -> None:
    web = start_web()
    (folder,) = (tmp_path / "metrics").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert web.terminate() == 0
    assert list((tmp_path / "metrics").iterdir()) == []


def test_the_folder_of_a_service_that_was_killed_is_swept_by_the_next(
    start_web: Callable[..., Web], tmp_path: Path
) -> None:
    living = start_web()
    killed = start_web()
    left = set((tmp_path / "metrics").iterdir())
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait(10)
    until(lambda: subprocess.run(["pgrep", "-s", str(killed.process.pid)], capture_output=True, check=False).returncode)
    start_web()
    now = set((tmp_path / "metrics").iterdir())
    assert len(left) == len(now) == 2
    assert len(left & now) == 1
    assert living.request("GET", "/metrics").status == 200


def test_a_job_found_by_its_key_is_not_counted_as_enqueued(client: FlaskClient) -> None:
    queue = "counted-once"
    for _ in range(3):
        post(client, idempotency_key="k", queue=queue)
    client.post("/jobs/bulk", json={"jobs": [{"kind": "external", "payload": {"n": 1}, "queue": queue}] * 3})
    post(client, idempotency_key="k", queue=queue, priority=1)
    assert value(client, "jobs_enqueued_total", queue=queue, kind="external") == 4


def test_the_gauges_are_what_the_tables_say(client: FlaskClient, connection: Connection) -> None:
    for _ in range(4):
        created(client, queue="q")
    created(client, queue="q", run_at="2100-01-01T00:00:00Z")
    past(connection, "ready", "run_at", 60)
    claim_one(connection, queue="q", kinds=["external"])
    leases.fail(connection, None, [Failure(claim_one(connection, queue="q", kinds=["external"]), "no", delay=3600)])
    assert value(client, "queue_depth", queue="q", status="queued") == 3
    assert value(client, "queue_depth", queue="q", status="running") == 1
    assert value(client, "queue_depth", queue="q", status="retrying") == 1
    assert value(client, "inflight_leases") == 1
    assert 60 <= value(client, "queue_oldest_ready_seconds", queue="q") < 90
    assert value(client, "database_up") == 1


def test_an_empty_queue_has_no_depth_and_no_age(client: FlaskClient) -> None:
    text = client.get("/metrics").text
    assert "queue_depth{" not in text
    assert "queue_oldest_ready_seconds{" not in text
    assert "inflight_leases 0.0" in text


def test_clients_cannot_invent_series(client: FlaskClient) -> None:
    for n in range(50):
        client.get(f"/nope/{n}")
        client.open("/jobs", method=f"BREW{n}")
        client.get(f"/jobs/01a200c6-e47b-72f2-a97e-1600febf{n:04d}")
    routes = {labels.get("route") for labels in all_labels(client, "http_requests_total")}
    methods = {labels.get("method") for labels in all_labels(client, "http_requests_total")}
    assert not any("nope" in str(route) or "01a2" in str(route) for route in routes)
    assert not any("BREW" in str(method) for method in methods)


def test_queues_beyond_a_thousand_share_one_series(start_web: Callable[..., Web]) -> None:
    web = start_web(WEB_CONCURRENCY="1")
    for first in (0, 600):
        jobs = [{"kind": "external", "payload": None, "queue": f"q{n}"} for n in range(first, first + 600)]
        assert web.request("POST", "/jobs/bulk", {"jobs": jobs}).status == 200
    series = [dict(labels) for name, labels in web.samples() if name == "jobs_enqueued_total"]
    assert len(series) == 1001
    assert web.value("jobs_enqueued_total", queue="(other)", kind="external") == 200


def test_the_text_is_prometheus_text(client: FlaskClient) -> None:
    created(client, queue="a.b:c_d-e")
    response = client.get("/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert names >= {
        "jobs_enqueued", "jobs_leased", "jobs_acked", "jobs_failed", "inflight_leases", "queue_depth",
        "queue_oldest_ready_seconds", "http_requests", "http_request_duration_seconds",
    }  # fmt: skip
    assert not any(name.endswith("_created") for name in names)


def all_labels(client: FlaskClient, name: str) -> list[dict[str, str]]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [sample.labels for family in families for sample in family.samples if sample.name == name]


def value(client: FlaskClient, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    found = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    return found[0] if found else 0.0
