"""What goes wrong between a holder of leases and the service: answers that are lost, words that come twice, late, in
another order, under another's token or with nonsense in them.
"""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena
from support.tables import look
from support.waiting import until
from support.web import Web

_NO_EXTENSIONS = (-1, 0, 99, 86_400_001, 2**31, 2**63, 1.5, True, None, "1000", [], {})
_VERBS = ("ack", "fail", "heartbeat", "release")
_BODIES: dict[str, dict[str, Any]] = {"fail": {"reason": "no good"}, "heartbeat": {"extend_ms": 60_000}}
_ENDS = {"ack": "succeeded", "fail": "retrying", "release": "queued"}


def matrix(arena: Arena) -> dict[str, Any]:
    """Each case once; `held` are those in which everything was as it should be."""
    history.record(arena.connection)
    web = arena.web(WEB_CONCURRENCY="2", REQUIRE_LEASE_TOKEN="1").ready()
    cases: dict[str, Callable[[_Holder], None]] = {
        **{f"the answer to {verb} is lost": lambda holder, verb=verb: _lost(holder, verb) for verb in _ENDS},
        **{f"{verb} comes four times at once": lambda holder, verb=verb: _four(holder, verb) for verb in _ENDS},
        **{f"{verb} comes late": lambda holder, verb=verb: _late(holder, verb) for verb in _VERBS},
        **{f"{verb} comes too late": lambda holder, verb=verb: _too_late(holder, verb) for verb in _VERBS},
        **{f"{verb} under another job's token": lambda holder, verb=verb: _foreign(holder, verb) for verb in _VERBS},
        **{f"{verb} after the end": lambda holder, verb=verb: _after_the_end(holder, verb) for verb in _VERBS[1:]},
        "heartbeats in another order": _reordered,
        "ack after a cancel": lambda holder: _after_a_cancel(holder, "ack", "succeeded"),
        "release after a cancel": lambda holder: _after_a_cancel(holder, "release", "cancelled"),
        "fail after a cancel": lambda holder: _after_a_cancel(holder, "fail", "cancelled"),
        **{f"extended by {by!r}": lambda holder, by=by: _no_extension(holder, by) for by in _NO_EXTENSIONS},
    }
    failed = {}
    for name, case in cases.items():
        try:
            case(_Holder(arena, web, f"q{len(failed)}-{abs(hash(name))}"))
        except AssertionError as error:
            failed[name] = str(error)
    assert not failed, failed
    ids = [row[0] for row in arena.connection.fetch_all("select id::text from windlass.jobs")]
    figures = history.verdict(arena.connection, ids)
    # Many were never meant to end.
    figures.pop("unfinished")
    return {"cases": len(cases), "held": len(cases) - len(failed), **figures}


class _Holder:
    """A queue of its own with one job, which it leases."""

    def __init__(self, arena: Arena, web: Web, queue: str) -> None:
        self.connection, self.web, self.queue = arena.connection, web, queue
        self.id = web.post_job(queue=queue, max_attempts=5).json()["id"]
        self.token = self.lease()

    def lease(self) -> str:
        answer = self.web.request("POST", "/v1/lease", {"queue": self.queue, "limit": 1, "lease_ms": 60_000})
        (job,) = answer.json()["jobs"]
        assert job["id"] == self.id
        return str(job["lease_token"])

    def body(self, verb: str, **fields: Any) -> dict[str, Any]:
        return {**_BODIES.get(verb, {}), "lease_token": self.token, **fields}

    def tell(self, verb: str, **fields: Any) -> int:
        return self.web.request("POST", f"/v1/jobs/{self.id}/{verb}", self.body(verb, **fields)).status

    def expire(self) -> None:
        """Its lease is over."""
        self.connection.execute(
            "update windlass.running set lease_expires_at = now() - interval '1 second' where id = %(id)s", id=self.id
        )

    def state(self) -> tuple[Any, ...] | None:
        """All that its lease and its ends are."""
        return self.connection.fetch_one(
            "select (select r::text from windlass.running as r where r.id = j.id), status, attempts, run_at, last_error"
            " from windlass.job_view as j where id = %(id)s",
            id=self.id,
        )

    def is_now(self, status: str, attempts: int) -> None:
        job = look(self.connection, self.id)
        assert (job.status, job.attempts) == (status, attempts), (job.status, job.attempts)


def _lost(holder: _Holder, verb: str) -> None:
    before = holder.state()
    body = json.dumps(holder.body(verb)).encode()
    head = f"POST /v1/jobs/{holder.id}/{verb} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", holder.web.port)) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        # It hangs up without having read the answer, once there is one.
        until(lambda: holder.state() != before, 5, f"{verb} is carried out")
    assert holder.tell(verb) == 204
    holder.is_now(_ENDS[verb], 0 if verb == "release" else 1)


def _four(holder: _Holder, verb: str) -> None:
    with ThreadPoolExecutor(4) as at_once:
        answers = list(at_once.map(lambda _: holder.tell(verb), range(4)))
    assert answers == [204] * 4, answers
    holder.is_now(_ENDS[verb], 0 if verb == "release" else 1)


def _late(holder: _Holder, verb: str) -> None:
    """Nobody has taken it back yet."""
    holder.expire()
    assert holder.tell(verb) == 204


def _too_late(holder: _Holder, verb: str) -> None:
    """Another has it."""
    holder.expire()
    next_token = holder.lease()
    before = holder.state()
    assert holder.tell(verb) == 409
    assert holder.state() == before
    assert holder.tell("ack", lease_token=next_token) == 204
    holder.is_now("succeeded", 2)


def _foreign(holder: _Holder, verb: str) -> None:
    other = holder.web.post_job(queue=holder.queue).json()["id"]
    answer = holder.web.request("POST", "/v1/lease", {"queue": holder.queue, "limit": 1, "lease_ms": 60_000})
    (job,) = answer.json()["jobs"]
    assert job["id"] == other
    before = holder.state()
    assert holder.tell(verb, lease_token=job["lease_token"]) == 409
    assert holder.state() == before
    assert holder.tell("ack") == 204


def _after_the_end(holder: _Holder, verb: str) -> None:
    assert holder.tell("ack") == 204
    before = holder.state()
    assert holder.tell(verb) == 409
    assert holder.state() == before


def _reordered(holder: _Holder) -> None:
    """Each moves the end to so long from when it arrives; whichever comes last, the lease is alive."""
    for extend_ms in (60_000, 10_000, 86_400_000, 5_000):
        assert holder.tell("heartbeat", extend_ms=extend_ms) == 204
    left = holder.connection.fetch_one(
        "select lease_expires_at - now() between interval '1 s' and interval '5 s' from windlass.running"
        " where id = %(id)s",
        id=holder.id,
    )
    assert left == (True,), left
    assert holder.tell("ack") == 204


def _after_a_cancel(holder: _Holder, verb: str, status: str) -> None:
    assert holder.web.request("POST", f"/jobs/{holder.id}/cancel").status == 202
    assert holder.tell(verb) == 204
    assert look(holder.connection, holder.id).status == status


def _no_extension(holder: _Holder, by: Any) -> None:
    before = holder.state()
    assert holder.tell("heartbeat", extend_ms=by) == 422
    assert holder.state() == before
    assert holder.tell("ack") == 204
