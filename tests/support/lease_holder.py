"""A worker over HTTP for fault tests, in the standard library alone: `python -m support.lease_holder URL LOG SEED`.

It leases, and acks, fails or releases at random; some leases it keeps until they are over; each settle it repeats until
it is answered, and now and then once more. What it was answered it writes down, one line an answer in a single write,
so that nothing is lost when it is killed.
"""

import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

LEASE_MS = 400
_pause = Event()


@dataclass(frozen=True)
class Answer:
    """A settle that was answered: which, under which lease, and with what status."""

    job: str
    token: str
    verb: str
    status: int


def answers(log: Path) -> list[Answer]:
    """What the holders that write to `log` were answered."""
    # A line under way has no end yet.
    return [Answer(*json.loads(line)) for line in log.read_text().split("\n")[:-1]]


class Holder:
    """One holder; `chance` decides what becomes of a job."""

    def __init__(self, url: str, log: Path, chance: random.Random) -> None:
        self._url, self._chance = url, chance
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self) -> None:
        """Until it is killed."""
        while True:
            terms = {"queue": "default", "kinds": ["note", "external"], "limit": self._chance.randint(1, 8)}
            status, answer = self._post("/v1/lease", {**terms, "lease_ms": LEASE_MS, "wait_ms": 200})
            if status != 200:
                raise RuntimeError(f"lease answered {status}: {answer}")
            for job in answer["jobs"]:
                self._work(job)

    def _work(self, job: dict[str, Any]) -> None:
        if self._chance.random() < 0.1:
            # Sometimes longer than the lease lasts: what it then says comes too late, perhaps while another holds it.
            _pause.wait(LEASE_MS / 1000 * self._chance.uniform(0.2, 2.0))
        token = job["lease_token"]
        verb, body = decide(token, self._chance)
        for _ in range(self._chance.choice((1, 1, 1, 2))):
            status, answer = self._post(f"/v1/jobs/{job['id']}/{verb}", {**body, "lease_token": token})
            if status not in (204, 409):
                raise RuntimeError(f"{verb} answered {status}: {answer}")
            os.write(self._log, (json.dumps([job["id"], token, verb, status]) + "\n").encode())

    def _post(self, path: str, body: Any) -> tuple[int, Any]:
        """Sends until somebody answers: the web processes are killed too."""
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        for pause in _pauses():
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    said = answer.read()
                    return answer.status, json.loads(said) if said else None
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()
            except (OSError, http.client.HTTPException):
                _pause.wait(pause)
        raise RuntimeError("nobody answered for half a minute")


def decide(token: str, chance: random.Random) -> tuple[str, dict[str, Any]]:
    """How a job ends under this token: the verb, and what is said with it."""
    dice = chance.random()
    if dice < 0.05:
        return "release", {}
    if dice < 0.15:
        return "fail", {"reason": f"under {token}", "retry_ms": 0}
    # The result tells whose success it was.
    return "ack", {"result": token}


def _pauses() -> Iterator[float]:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        yield 0.05


if __name__ == "__main__":
    Holder(sys.argv[1], Path(sys.argv[2]), random.Random(int(sys.argv[3]))).run()
