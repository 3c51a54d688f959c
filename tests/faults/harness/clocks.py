"""Processes whose wall clocks are minutes apart and jump: the database's is the only one that counts."""

import base64
import random
import time
from datetime import UTC, datetime
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from support.receiver import Receiver
from support.tables import attempts, ended, put, put_one
from support.web import Web
from support.wrong_clock import WrongClock

from sql.connection import Connection

MOST_SECONDS = 600
_LEASE_MS = 600
_AHEAD_SECONDS = 1.0
_SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def apart(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """Two pools and a web service up to ten minutes off, each in its direction; every round the clocks jump anew."""
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    offs = (MOST_SECONDS, -MOST_SECONDS, 0)
    clocks = [WrongClock(arena.folder, f"clock{n}", off) for n, off in enumerate(offs)]
    with Receiver() as receiver:
        settings = {"webhook_secret": _SECRET, "webhook_allow_nets": "127.0.0.0/8", "lease_seconds": 2}
        pools = [arena.pool(worker_processes=2, **settings, **clock.environ) for clock in clocks[:2]]
        web = arena.web(**clocks[2].environ).ready()
        for pool in pools:
            pool.ready()
        offset = history.database_clock(connection)
        ids: list[str] = []
        scheduled: dict[str, float] = {}
        for turn in range(rounds):
            ids += put(connection, "note", *({"seconds": chance.choice((0.0, 0.1))} for _ in range(20)))
            retried = put(connection, "throw", *({"what": "ValueError", "times": 1} for _ in range(4)))
            due = time.monotonic() + offset + _AHEAD_SECONDS
            scheduled |= dict.fromkeys((_schedule(web, due) for _ in range(4)), due)
            hook = put_one(connection, "webhook_delivery", {"url": receiver.url})
            for clock in clocks:
                let_pass(chance.uniform(0.0, 0.2))
                clock.set(chance.uniform(-MOST_SECONDS, MOST_SECONDS))
            _hold_a_lease(web, f"holders-{turn}", clocks[2], chance)
            for job_id in (*ids, *retried, *scheduled, hook):
                assert ended(connection, job_id, 15).status == "succeeded"
            assert attempts(connection, retried) == [2] * len(retried)
            ids += [*scheduled, hook]
        # Not the metric: the leases that nobody kept are in it too.
        lost = connection.fetch_one("select count(*) from windlass.workers where lost_at is not null")
        assert lost is not None
        errors = [_clock_error(connection, request.headers) for request in receiver.requests]
    starts = {effect.job: effect.at + offset for effect in arena.effects.all("ran")}
    waited = [starts[job_id] - due for job_id, due in scheduled.items()]
    return {
        "seed": seed,
        "rounds": rounds,
        "started_before_run_at": sum(seconds < 0 for seconds in waited),
        "latest_scheduled_start_seconds": round(max(waited), 3),
        "workers_taken_for_lost": lost[0],
        "attempts_spent": sum(attempts(connection, ids)) - len(ids),
        "webhook_clock_error_seconds": round(max(errors), 1),
        **history.verdict(connection, set(ids), arena.effects.all()),
    }


def _clock_error(connection: Connection, headers: dict[str, str]) -> float:
    """Between the time a webhook bears and the database's time of its attempt."""
    row = connection.fetch_one(
        "select extract(epoch from started_at)::float8 from windlass.job_view where id = %(id)s",
        id=headers["webhook-id"],
    )
    assert row is not None
    return float(abs(int(headers["webhook-timestamp"]) - row[0]))


def _schedule(web: Web, due: float) -> str:
    run_at = datetime.fromtimestamp(due, UTC).isoformat()
    answer = web.post_job(kind="note", payload={}, run_at=run_at)
    assert answer.status == 201, answer.data
    job_id: str = answer.json()["id"]
    return job_id


def _hold_a_lease(web: Web, queue: str, clock: WrongClock, chance: random.Random) -> None:
    """A lease is kept over the clock's jumps by its heartbeats, and is over when nobody sends any."""
    for settle in (True, False):
        web.post_job(queue=queue)
        job = _lease(web, queue)
        for _ in range(4):
            let_pass(_LEASE_MS / 3000)
            clock.set(chance.uniform(-MOST_SECONDS, MOST_SECONDS))
            assert _tell(web, job, "heartbeat", extend_ms=_LEASE_MS) == 204
            assert not _asked(web, queue, wait_ms=0), "a lease that is kept was given to another"
        if settle:
            assert _tell(web, job, "ack") == 204
    again = _lease(web, queue)
    assert again["id"] == job["id"]
    assert _tell(web, job, "ack") == 409
    assert _tell(web, again, "ack") == 204


def _lease(web: Web, queue: str) -> dict[str, Any]:
    asked_at = time.monotonic()
    while time.monotonic() - asked_at < 5:
        for job in _asked(web, queue, wait_ms=1000):
            return job
    raise AssertionError("nothing is leased")


def _asked(web: Web, queue: str, wait_ms: int) -> list[dict[str, Any]]:
    terms = {"queue": queue, "limit": 1, "lease_ms": _LEASE_MS, "wait_ms": wait_ms}
    answer = web.request("POST", "/v1/lease", terms)
    assert answer.status == 200, answer.data
    jobs: list[dict[str, Any]] = answer.json()["jobs"]
    return jobs


def _tell(web: Web, job: dict[str, Any], verb: str, **body: Any) -> int:
    return web.request("POST", f"/v1/jobs/{job['id']}/{verb}", {**body, "lease_token": job["lease_token"]}).status
