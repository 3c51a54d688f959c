"""Both endpoints read by a real Prometheus."""

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.database import open_connection
from support.ports import free_port
from support.programs import path_of
from support.service import Surroundings
from support.waiting import until

from sql import stats
from sql.embedded import EmbeddedServer

pytestmark = pytest.mark.needs_prometheus

JOBS = 40


@pytest.fixture
def surroundings() -> Iterator[Surroundings]:
    made = Surroundings(WORKER_PROCESSES="2", WEB_CONCURRENCY="2")
    yield made
    made.clear()


@pytest.fixture
def server(surroundings: Surroundings) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(surroundings.folder / "outside", smart_seconds=1) as server:
        yield server
        surroundings.end()


class Prometheus:
    """A server that scrapes `targets` (job name → host:port) every second."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        config = folder / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s"},
                    "scrape_configs": [
                        {"job_name": name, "static_configs": [{"targets": [target]}]}
                        for name, target in targets.items()
                    ],
                }
            )
        )
        port = free_port()
        self._url = f"http://127.0.0.1:{port}/api/v1"
        self._log = open(folder / "prometheus.log", "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            [path_of("needs_prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def targets(self) -> dict[str, str]:
        """Job name → health, as soon as it answers."""
        try:
            active = self._get("targets?state=active")["activeTargets"]
        except OSError:
            return {}
        return {target["labels"]["job"]: target["health"] for target in active}

    def value(self, query: str) -> float:
        """One number; NaN-free: 0 while there is nothing."""
        found = self._get(f"query?{urllib.parse.urlencode({'query': query})}")["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/{path}", timeout=5) as answer:
            return json.load(answer)["data"]


def test_prometheus_reads_both_endpoints_and_what_it_reads_equals_the_tables(
    surroundings: Surroundings, server: EmbeddedServer, tmp_path: Path
) -> None:
    surroundings.up(DATABASE_URL=server.url)
    prometheus = Prometheus(
        tmp_path,
        {"web": f"127.0.0.1:{surroundings.port}", "pool": f"127.0.0.1:{surroundings.metrics_port}"},
    )
    try:
        until(lambda: prometheus.targets() == {"web": "up", "pool": "up"}, 30, "both targets are up")
        for number in range(JOBS):
            made = surroundings.run(
                "enqueue", "--kind", "summarize_text", "--json", json.dumps({"text": f"Number {number}. It counts."})
            )
            assert made.returncode == 0, made.stderr
        conn = open_connection(server.url)
        try:
            until(lambda: not stats.depths(conn), 20, "the queue is drained")
        finally:
            conn.close()
        until(lambda: prometheus.value("sum(jobs_enqueued_total)") == JOBS, 15, "the web's count is read")
        until(
            lambda: prometheus.value('sum(worker_jobs_completed_total{outcome="succeeded"})') == JOBS,
            15,
            "the pool's count is read",
        )
        assert prometheus.value("sum(worker_jobs_started_total)") == JOBS
        assert prometheus.value("worker_processes") == 2
        assert prometheus.value("sum(queue_depth)") == 0
        assert prometheus.value("sum(worker_job_duration_seconds_count)") == JOBS
    finally:
        prometheus.end()
