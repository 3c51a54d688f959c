"""A process killed at every system call of one operation: claim, run and settle in a worker, the beat in a steward, and
what holders of leases say over HTTP in a web process.
"""

import json
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import urllib3
from faults.harness import history, tracing
from faults.harness.arena import Arena, some
from support.pool import Pool
from support.processes import alive
from support.tables import ended, follow_ups, look, put_one
from support.waiting import until
from support.web import Web

from sql.connection import Connection

# What a worker does with a job: succeed, fail once and be retried, succeed together with a follow-up.
JOBS: dict[str, dict[str, Any]] = {
    "note": {},
    "throw": {"what": "ValueError", "times": 1},
    "follow": {"notes": [{"queue": "elsewhere"}]},
}
VERBS = ("enqueue", "lease", "heartbeat", "ack", "fail", "release")
LEASE_MS = 300
_LEASE_SECONDS = 2
_TRIES = 3


def worker(arena: Arena, kind: str, rounds: int | None, seed: int) -> dict[str, Any]:
    """A worker killed at `rounds` of the system calls of claiming, running and settling a job of `kind`, or at each."""
    # It idles long, so that all its calls are of the job.
    pool = arena.pool(worker_processes=1, poll_interval_ms=60_000).ready()
    connection, ids = arena.connection, []
    history.record(connection)

    def one() -> None:
        ids.append(put_one(connection, kind, JOBS[kind], max_attempts=50))
        ended(connection, ids[-1])

    def two() -> None:
        one()
        one()

    one()
    calls = tracing.calls(_only_worker(pool), arena.folder / "calls", two)
    points = some(calls, rounds, random.Random(seed))
    killed, recoveries = 0, []
    for point in points:
        victim = _only_worker(pool.ready())
        with tracing.kill_at(victim, point):
            ids.append(put_one(connection, kind, JOBS[kind], max_attempts=50))
            until(lambda pid=victim: not alive(pid) or look(connection, ids[-1]).status == "succeeded", 10, "an end")
            died_at = time.monotonic()
            ended(connection, ids[-1])
            recoveries.append(time.monotonic() - died_at)
            # Where the job itself was over before its worker came to the call, the next ones bring it there.
            two()
            killed += not alive(victim)
    pool.ready()
    figures = history.verdict(connection, ids, arena.effects.all(), most_attempts=50)
    return {
        "seed": seed,
        **of_points(len(points), killed),
        "slowest_end_after_kill_seconds": round(max(recoveries), 3),
        "not_both_or_neither": without_one_follow_up(connection, ids) if kind == "follow" else 0,
        **figures,
    }


def steward(arena: Arena, rounds: int | None, seed: int) -> dict[str, Any]:
    """A steward killed at system calls of its passes, the beat among them, while its one worker is at one long job."""
    pool = arena.pool(worker_processes=1, lease_seconds=_LEASE_SECONDS).ready()
    connection, chance = arena.connection, random.Random(seed)
    history.record(connection)
    job_id = put_one(connection, "gate", timeout=3600)
    began = arena.effects.wait_for("began", job_id)
    identity = pool.registered()[began.pid]

    def beaten() -> object:
        return connection.fetch_one("select heartbeat_at from windlass.workers where id = %(id)s", id=identity)

    def two_beats() -> None:
        for _ in range(2):
            last = beaten()
            until(lambda last=last: beaten() != last, 5, "the steward beats")

    calls = tracing.calls(pool.steward(), arena.folder / "calls", two_beats)
    points = some(calls, rounds, chance)
    killed = 0
    for point in points:
        victim, heard = pool.steward(), pool.stewards()
        with tracing.kill_at(victim, point):
            give_up_at = time.monotonic() + 3
            until(lambda pid=victim, end=give_up_at: not alive(pid) or time.monotonic() > end, 10)
        if not alive(victim):
            killed += 1
            until(lambda heard=heard: pool.stewards() > heard, 10, "another steward is at work")
    lost = pool.metric("leases_expired_total")
    arena.effects.open_gate(job_id)
    job = ended(connection, job_id)
    return {
        "seed": seed,
        **of_points(len(points), killed),
        "leases_lost": int(lost),
        "attempts_of_its_job": job.attempts,
        **history.verdict(connection, [job_id], arena.effects.all()),
    }


def web(arena: Arena, rounds: int | None, seed: int) -> dict[str, Any]:
    """A web process killed at `rounds` of the system calls of each kind of request, or at each; the client asks again
    until it is answered.
    """
    connection, chance = arena.connection, random.Random(seed)
    history.record(connection)
    service = arena.web(WEB_CONCURRENCY="1", WEB_THREADS="2", REQUIRE_LEASE_TOKEN="1").ready()
    asked = _Asked(arena, service)
    points = killed = 0
    for verb in VERBS:
        do = getattr(asked, verb)
        do(lambda request: request())
        calls: list[tracing.Call] = []
        do(lambda request, found=calls: found.extend(_calls(arena, service, request)))
        for point in some(calls, rounds, chance):
            victim = _only_web(service)

            def cut(request: Callable[[], None], victim: int = victim, point: tracing.Call = point) -> None:
                with tracing.kill_at(victim, point):
                    request()

            # Now and then a request takes a call less than the one before it.
            for _ in range(_TRIES):
                do(cut)
                if not alive(victim):
                    break
            points += 1
            killed += not alive(victim)
    figures = history.verdict(connection, asked.ids)
    # Jobs that were never meant to end are no fault here.
    figures.pop("unfinished")
    keys = connection.fetch_one("select count(*), count(distinct idempotency_key) from windlass.jobs")
    return {
        "seed": seed,
        **of_points(points, killed),
        "unanswered": asked.unanswered,
        "jobs_and_keys": keys,
        **figures,
    }


def of_points(points: int, killed: int) -> dict[str, Any]:
    """How many there were, and at how many somebody died."""
    return {"points": points, "killed": killed, "percent_killed": round(100 * killed / points, 1)}


def without_one_follow_up(connection: Connection, ids: Iterable[str]) -> int:
    """How many of the jobs left none, or more than one."""
    return sum(len(follow_ups(connection, job_id)) != 1 for job_id in ids)


def _calls(arena: Arena, service: Web, request: Callable[[], None]) -> list[tracing.Call]:
    return tracing.calls(_only_web(service), arena.folder / "calls", request)


class _Asked:
    """One client; each method prepares a job, lets `around` send the request in the middle, and holds the answers."""

    def __init__(self, arena: Arena, service: Web) -> None:
        self._connection, self._service = arena.connection, service
        self.ids: list[str] = []
        self.unanswered = 0
        self._queue = ""

    def enqueue(self, around: Callable[[Callable[[], None]], object]) -> None:
        """By key: one job, whatever was answered."""
        self._queue = f"q{len(self.ids)}"
        around(self._enqueue)
        self._enqueue()
        assert self.ids[-1] == self.ids[-2], "one key, two jobs"
        self.ids.pop()

    def lease(self, around: Callable[[Callable[[], None]], object]) -> None:
        """What nobody heard of is leased again when its lease is over."""
        self._new_job()
        around(self._lease)
        job = look(self._connection, self.ids[-1])
        assert job.status == "running"
        assert job.attempts in (1, 2)
        self._settle("ack", {})

    def heartbeat(self, around: Callable[[Callable[[], None]], object]) -> None:
        """Sent again it extends again."""
        self._new_job()
        self._lease(60_000)
        around(lambda: self._settle("heartbeat", {"extend_ms": 60_000}))
        assert look(self._connection, self.ids[-1]).status == "running"
        self._settle("ack", {})

    def ack(self, around: Callable[[Callable[[], None]], object]) -> None:
        """Sent again it is answered as the first time, and the first result stays."""
        self._settles(around, "ack", {"result": len(self.ids)})
        job = look(self._connection, self.ids[-1])
        assert (job.status, job.attempts, job.result) == ("succeeded", 1, str(len(self.ids) - 1))

    def fail(self, around: Callable[[Callable[[], None]], object]) -> None:
        """Reported twice it is one failure."""
        self._settles(around, "fail", {"reason": "no good"})
        job = look(self._connection, self.ids[-1])
        assert (job.status, job.attempts, job.last_error) == ("retrying", 1, "no good")

    def release(self, around: Callable[[Callable[[], None]], object]) -> None:
        """Given back twice it gets one attempt back."""
        self._settles(around, "release", {})
        job = look(self._connection, self.ids[-1])
        assert (job.status, job.attempts) == ("queued", 0)

    def _settles(self, around: Callable[[Callable[[], None]], object], verb: str, body: dict[str, Any]) -> None:
        self._new_job()
        self._lease(60_000)
        around(lambda: self._settle(verb, body))

    def _new_job(self) -> None:
        self._queue = f"q{len(self.ids)}"
        self._enqueue()

    def _enqueue(self) -> None:
        body = {"kind": "external", "payload": None, "queue": self._queue}
        self.ids.append(self._insist("/jobs", body, {"Idempotency-Key": self._queue}, (200, 201))["id"])

    def _lease(self, lease_ms: int = LEASE_MS) -> None:
        terms = {"queue": self._queue, "limit": 1, "lease_ms": lease_ms, "wait_ms": 2000}
        jobs: list[dict[str, Any]] = []
        while not jobs:
            jobs = self._insist("/v1/lease", terms, {}, (200,))["jobs"]
        self._token = jobs[0]["lease_token"]

    def _settle(self, verb: str, body: dict[str, Any]) -> None:
        self._insist(f"/v1/jobs/{self.ids[-1]}/{verb}", {**body, "lease_token": self._token}, {}, (204,))

    def _insist(self, path: str, body: Any, headers: dict[str, str], good: tuple[int, ...]) -> Any:
        # By a connection of its own: accepting it belongs to the request.
        headers = {**headers, "Connection": "close"}
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at:
            try:
                answer = self._service.request("POST", path, body, headers)
            except urllib3.exceptions.HTTPError:
                self.unanswered += 1
                continue
            assert answer.status in good, (path, answer.status, answer.data)
            return json.loads(answer.data) if answer.data else None
        raise AssertionError(f"nobody answered {path}")


def _only_worker(pool: Pool) -> int:
    (pid,) = until(pool.registered)
    return int(pid)


def _only_web(service: Web) -> int:
    (pid,) = until(lambda: [pid for pid in service.workers() if alive(pid)], 10, "a web process")
    return int(pid)
