"""The web service as a program: real gunicorn, real workers, seen from the test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from support.ports import free_port
from support.waiting import until

ROOT = Path(__file__).parents[2]
Sample = tuple[str, frozenset[tuple[str, str]]]


class Web:
    """gunicorn on a free port of this machine; `environ` is added to the test's own environment.

    `within` is a command that becomes it. With `authority`, a file of whoever vouches for it, it is spoken to over TLS.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        arguments: tuple[str, ...] = (),
        port: int | None = None,
        within: Sequence[str] = (),
        authority: Path | None = None,
        **environ: str,
    ) -> None:
        self.port = port or free_port()
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{self.port}"
        self.log_path = folder / "web.log"
        self._concurrency = environ.get("WEB_CONCURRENCY", "1")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", "gunicorn", "-c", "python:app.server", *arguments, "app.wsgi:app"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DATABASE_URL": database_url,
                    "API_BIND_ADDR": f"127.0.0.1:{self.port}",
                    "WEB_CONCURRENCY": "1",
                    "LOG_FORMAT": "json",
                    **environ,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pool = urllib3.PoolManager(
            maxsize=64, retries=False, timeout=urllib3.Timeout(30), ca_certs=authority and str(authority)
        )

    def ready(self) -> "Web":
        """Until it answers and has all its workers."""

        def answers() -> bool:
            assert self.process.poll() is None, self.log()
            try:
                # Not kept: the test's first request would be of the same worker.
                return self.request("GET", "/healthz", headers={"Connection": "close"}).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        until(answers, seconds=20, message="the web service does not answer")
        until(lambda: str(len(self.workers())) == self._concurrency, seconds=20, message="all workers run")
        return self

    def request(
        self, method: str, path: str, json_body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """One request; `json_body` not None is sent as JSON."""
        if json_body is not None:
            options["json"] = json_body
        return self._pool.request(method, self.url + path, headers=headers, **options)

    def post_job(self, headers: Mapping[str, str] | None = None, **fields: Any) -> urllib3.BaseHTTPResponse:
        """Enqueues a job that no pool runs."""
        return self.request("POST", "/jobs", {"kind": "external", "payload": None, **fields}, headers)

    def samples(self) -> dict[Sample, float]:
        """What `/metrics` says now."""
        text = self.request("GET", "/metrics").data.decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample of `/metrics`; 0 if it is not there."""
        return self.samples().get((name, frozenset(labels.items())), 0.0)

    def workers(self) -> list[int]:
        """Pids of gunicorn's workers."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        return [int(pid) for pid in found]

    def log(self) -> str:
        """All it logged so far."""
        return self.log_path.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """The JSON lines of the log."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def terminate(self, seconds: float = 30) -> int:
        """TERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def end(self) -> None:
        """Whatever the test did, nothing of it runs on."""
        # gunicorn keeps open connections for 2 s more, for a request that may be on its way.
        hang_up(self._pool)
        if self.process.poll() is None:
            try:
                self.terminate(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)


def hang_up(pool: urllib3.PoolManager) -> None:
    """Closes what is idle now; by itself that is left to the garbage collector."""
    for key in pool.pools.keys():  # noqa: SIM118 - it cannot be iterated
        pool.pools[key].close()
    pool.clear()


@contextmanager
def running_web(folder: Path, database_url: str, arguments: tuple[str, ...] = (), **environ: str) -> Iterator[Web]:
    """A web service that answers, ended with the block."""
    web = Web(folder, database_url, arguments, **environ)
    try:
        yield web.ready()
    finally:
        web.end()
