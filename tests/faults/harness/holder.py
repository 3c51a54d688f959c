"""A worker over HTTP in a storm: `python -m faults.harness.holder URL LOG SEED`, API_TOKEN in the environment.

It leases external jobs; acks, fails or releases at random, extends some, keeps some beyond their lease, settles some
twice. It writes down that it begins a job, and what each settle was answered; one write a line.
"""

import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import urllib3
from support.lease_holder import decide

LEASE_MS = 500
_PATIENCE_SECONDS = 60
_pause = threading.Event()


class Said(NamedTuple):
    """`verb` `began` (status 0) or a settle that was answered."""

    job: str
    token: str
    verb: str
    status: int
    at: float


def said(log: Path) -> list[Said]:
    """By all holders that wrote to `log`."""
    # A line under way has no end yet.
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [Said(*json.loads(line)) for line in lines]


class Holder:
    """One of them; `chance` decides."""

    def __init__(self, url: str, log: Path, chance: random.Random) -> None:
        self._url, self._chance = url, chance
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        headers = {"Authorization": f"Bearer {os.environ['API_TOKEN']}"}
        self._http = urllib3.PoolManager(headers=headers, retries=False, timeout=urllib3.Timeout(10))

    def run(self) -> None:
        """Until it is killed."""
        while True:
            terms = {"queue": "default", "limit": self._chance.randint(1, 8), "lease_ms": LEASE_MS, "wait_ms": 300}
            status, answer = self._post("/v1/lease", terms)
            if status != 200:
                raise RuntimeError(f"lease answered {status}: {answer}")
            for job in answer["jobs"]:
                self._work(job["id"], job["lease_token"])

    def _work(self, job: str, token: str) -> None:
        self._note(job, token, "began", 0)
        if self._chance.random() < 0.1:
            status, _ = self._post(f"/v1/jobs/{job}/heartbeat", {"extend_ms": LEASE_MS, "lease_token": token})
            self._note(job, token, "heartbeat", status)
        late = self._chance.random() < 0.25
        if late:
            # Longer than the lease lasts: what it then says comes too late, perhaps while another holds the job.
            _pause.wait(LEASE_MS / 1000 * self._chance.uniform(0.5, 2.5))
        # What it holds takes time, or late ones would never meet others that hold the same.
        _pause.wait(self._chance.choice((0, 0, 0.1, 0.3)))
        verb, body = decide(token, self._chance)
        if late:
            failed = ("fail", {"reason": f"late, under {token}"})
            verb, body = self._chance.choice(((verb, body), (verb, body), failed, ("release", {})))
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            status, answer = self._post(f"/v1/jobs/{job}/{verb}", {**body, "lease_token": token})
            if status not in (204, 409):
                raise RuntimeError(f"{verb} answered {status}: {answer}")
            self._note(job, token, verb, status)

    def _note(self, job: str, token: str, verb: str, status: int) -> None:
        os.write(self._log, (json.dumps([job, token, verb, status, time.time()]) + "\n").encode())

    def _post(self, path: str, body: Any) -> tuple[int, Any]:
        """Sends until somebody answers: the web and the database go away now and then."""
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                answer = self._http.request("POST", self._url + path, json=body)
            except urllib3.exceptions.HTTPError:
                _pause.wait(0.05)
                continue
            if answer.status != 503:
                return answer.status, answer.json() if answer.data else None
            _pause.wait(0.1)
        raise RuntimeError(f"nobody answered for {_PATIENCE_SECONDS} s")


if __name__ == "__main__":
    Holder(sys.argv[1], Path(sys.argv[2]), random.Random(int(sys.argv[3]))).run()
