"""`windlass remote` for tests: a web service, what a producer asks of it, and commands that leave marks."""

import json
import os
import shlex
import sys
from typing import Any

import urllib3

from support.processes import ROOT, alive
from support.service import Running, Surroundings
from support.waiting import until

QUEUE = "tasks"
_ENDS = ("succeeded", "failed_permanent", "cancelled")


class Workshop:
    """A web service without a pool, and workers over HTTP that run in its folder."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.folder = surroundings.folder
        self._workers: list[Running] = []
        # A connection left open would hold up the stop of the web service.
        headers = {"Connection": "close", "Authorization": f"Bearer {surroundings.environ.get('API_TOKEN', 'none')}"}
        self._http = urllib3.PoolManager(retries=False, timeout=30, headers=headers)
        self.web = self.start_web()

    def start_web(self, **variables: str) -> Running:
        """A web service that answers, at the address they all have."""
        self.web = self.surroundings.start("web", **variables)
        until(lambda: self.web.ended or self._answers(), 30, "the web service answers")
        assert not self.web.ended, self.web.output
        return self.web

    def stop_web(self) -> None:
        """TERM, as a deploy would, and gone."""
        self.web.end()

    def close(self) -> None:
        """Ends everything."""
        for worker in self._workers:
            worker.end()
        self.surroundings.clear()

    def remote(self, *options: str, command: str | None = None, **variables: str) -> Running:
        """A worker; `command` is Python that finds the payload as `payload`, and `mark(text)` to leave a line in
        the file `marks`, and `gate(name)` to wait for a file."""
        run = [] if command is None else ["--exec", self.program(command)]
        return self.worker("windlass", "remote", "--queue", QUEUE, *options, *run, **variables)

    def worker(self, program: str, *arguments: str, **variables: str) -> Running:
        """Any program that works jobs."""
        self._workers.append(self.surroundings.start(*arguments, program=program, **variables))
        return self._workers[-1]

    def program(self, code: str) -> str:
        """What to give to --exec."""
        script = self.folder / f"program{len(list(self.folder.glob('program*')))}.py"
        script.write_text(_BEFORE + code)
        return shlex.join([sys.executable, "-S", str(script)])

    def add(self, payload: Any = None, queue: str = QUEUE, **fields: Any) -> str:
        """Enqueues a job for workers over HTTP; its id."""
        answer = self.post("/v1/jobs", {"queue": queue, "payload": payload, **fields})
        assert answer.status == 200, answer.data
        job_id: str = answer.json()["job_id"]
        return job_id

    def post(self, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        """One request."""
        return self._http.request("POST", self.surroundings.url + path, json={} if body is None else body)

    def metrics(self) -> str:
        """What the web service counts."""
        return self._http.request("GET", self.surroundings.url + "/metrics").data.decode()

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it."""
        found: dict[str, Any] = self._http.request("GET", f"{self.surroundings.url}/jobs/{job_id}").json()
        return found

    def ended(self, job_id: str, seconds: float = 20) -> dict[str, Any]:
        """The job, once it has come to its end."""
        return until(lambda: (job := self.job(job_id))["status"] in _ENDS and job, seconds, f"{job_id} has ended")

    def open(self, gate: str) -> None:
        """Lets those go on who wait for it."""
        (self.folder / gate).touch()

    @property
    def marks(self) -> list[str]:
        """What the commands left, in order."""
        path = self.folder / "marks"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self) -> list[int]:
        """The marks that are numbers of processes."""
        return [int(mark) for mark in self.marks if mark.isdigit()]

    def nobody_is_left(self) -> bool:
        """Whether none of the processes that left their numbers lives."""
        return bool(self.pids()) and not any(map(alive, self.pids()))

    def left(self) -> list[int]:
        """The living processes of this workshop but for the web service."""
        web = {self.web.process.pid, *self.surroundings.roles("web")}
        return [pid for pid in self.surroundings.everybody() if os.getsid(pid) not in web]

    def _answers(self) -> bool:
        try:
            return self._http.request("GET", self.surroundings.url + "/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False


GATE = f"""\
import sys
sys.path.append({str(ROOT / "tests")!r})
from support.waiting import until
def gate(name):
    until(lambda: os.path.exists(name), 60, "somebody opens " + name)
"""
# For a command that goes on until it is killed; the alarm ends what a failed test leaves behind.
HANG = "signal.alarm(600); signal.pause()"
_BEFORE = f"""\
import json, os, signal, subprocess, sys, time
payload = json.load(sys.stdin)
def mark(text):
    os.write(os.open("marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT), f"{{text}}\\n".encode())
{GATE}"""


def lines_about(job_id: str, output: str) -> list[str]:
    """What a worker logged about a job."""
    return [line for line in output.splitlines() if job_id in line]


def leased(job_id: str, **fields: Any) -> dict[str, Any]:
    """A job as `/v1/lease` gives it out, for services that a test plays."""
    facts = {"id": job_id, "queue": QUEUE, "kind": "external", "payload": None, "attempts": 1, "max_attempts": 5}
    return {**facts, "lease_token": f"token-of-{job_id}", "timeout_seconds": 60, **fields}


def jobs_body(*jobs: dict[str, Any]) -> bytes:
    """The answer to `/v1/lease`."""
    return json.dumps({"jobs": jobs}).encode()
