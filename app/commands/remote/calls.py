"""What a worker over HTTP says to the service, and what the answers mean to it."""

import json
import random
from dataclasses import dataclass
from typing import Any

from app.commands.api import Answer, Api, NoAnswer
from workerpool.kinds.retry_after import retry_after

LONGEST_PAUSE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.2
# What an answer may take beyond the time that was asked for: an unreachable database alone holds a request up to 5 s.
_ANSWER_SECONDS = 15.0
_SHORTEST_BEAT_SECONDS, _LONGEST_BEAT_SECONDS = 1.0, 10.0
# Said by routers and proxies while the service is away, by a limit, or by a service that is in trouble itself.
_PASSING = frozenset({408, 425, 429})
_UNHEARD = _PASSING | {502, 503, 504}
_REFUSED = frozenset({400, 413, 422})


class Again(Exception):
    """Nothing was decided: ask again, not before `after` seconds if the service said so.

    `unheard`: there was nobody, or nobody with time for us; what comes next may well be answered.
    """

    def __init__(self, said: str, after: float | None = None, *, unheard: bool = False) -> None:
        super().__init__(said)
        self.after = after
        self.unheard = unheard


class LeaseLost(Exception):
    """The job is no longer ours: settled, taken back, or somebody else's."""


class Refused(Exception):
    """The service understood the request and will not do it, however often it is asked."""


@dataclass(frozen=True)
class Lease:
    """A job under a lease. `timeout_seconds` of one attempt, None if the service said nothing of it."""

    id: str
    token: str
    queue: str
    kind: str
    attempt: int
    max_attempts: int
    timeout_seconds: float | None
    payload: Any

    @classmethod
    def of(cls, job: dict[str, Any]) -> "Lease":
        """From an item of the answer to `/v1/lease`. Raises KeyError or TypeError when it is none."""
        return cls(
            id=job["id"],
            token=job["lease_token"],
            queue=job["queue"],
            kind=job["kind"],
            attempt=job["attempts"],
            max_attempts=job["max_attempts"],
            timeout_seconds=job.get("timeout_seconds"),
            payload=job["payload"],
        )

    def __str__(self) -> str:
        return f"job {self.id} ({self.kind}, attempt {self.attempt} of {self.max_attempts})"


class Calls:
    """The requests of a worker. Every one is sent once: repeating is the caller's, with `pause_before`.

    All raise Again. Safe to use from several threads.
    """

    def __init__(self, api: Api, for_leases: Api, lease_ms: int) -> None:
        """`lease_ms`: how long a lease is, when it is taken and each time it is extended.

        `for_leases` reaches the same service, and is used by whoever leases only.
        """
        self._api = api
        self._for_leases = for_leases
        self._lease_ms = lease_ms
        # A beat that hangs keeps the others waiting, so it is given up about when the next is due.
        self._beat_seconds = min(max(lease_ms / 3000, _SHORTEST_BEAT_SECONDS), _LONGEST_BEAT_SECONDS)

    def lease(self, queue: str, kinds: tuple[str, ...], limit: int, wait_ms: int) -> list[Lease]:
        """Up to `limit` jobs; waits `wait_ms` for the first, if the service has room for those who wait.

        Raises Refused when the answer is not that of a service which would ever lease to us.
        """
        body = {"queue": queue, "limit": limit, "lease_ms": self._lease_ms, "wait_ms": wait_ms}
        if kinds:
            body["kinds"] = list(kinds)
        answer = _post(self._for_leases, "/v1/lease", body, wait_ms / 1000 + _ANSWER_SECONDS)
        if answer.status != 200:
            raise Refused(f"lease refused: {_shown(answer)}")
        try:
            return [Lease.of(job) for job in json.loads(answer.text)["jobs"]]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("the answer to a lease is none, so this is no Windlass") from error

    def stop_leasing(self) -> None:
        """A lease that is being waited for is answered now, with nothing if nothing was taken yet."""
        self._for_leases.stop_asking()

    def heartbeat(self, lease: Lease) -> bool:
        """Extends the lease by its whole length; whether somebody asked to cancel. Raises LeaseLost."""
        body = {"extend_ms": self._lease_ms, "lease_token": lease.token}
        answer = self._about(lease, "heartbeat", body, self._beat_seconds)
        return answer.headers.get("Windlass-Cancel-Requested", "").lower() == "true"

    def settle(self, lease: Lease, verb: str, fields: dict[str, Any]) -> None:
        """`verb`: ack, fail or release. Repeated with the same token it is answered as the first time.

        Raises LeaseLost, and Refused when the service does not take the fields.
        """
        self._about(lease, verb, {**fields, "lease_token": lease.token}, _ANSWER_SECONDS)

    def _about(self, lease: Lease, verb: str, body: dict[str, Any], seconds: float) -> Answer:
        answer = _post(self._api, f"/v1/jobs/{lease.id}/{verb}", body, seconds)
        if 200 <= answer.status <= 299:
            return answer
        if answer.status == 409 or (answer.status == 404 and _is_ours(answer)):
            raise LeaseLost(_shown(answer))
        if answer.status in _REFUSED:
            raise Refused(f"{verb} refused: {_shown(answer)}")
        # A token that is being changed, a page of a router that has no service behind it just now: not the last word.
        raise Again(f"{verb}: {_shown(answer)}")


def pause_before(repeat: int, after: float | None = None) -> float:
    """Seconds to wait before the `repeat`th repetition (1, 2, …): jittered and growing, at least `after`."""
    most = min(LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(repeat, 30))
    # Upwards of a half, so that a crowd of workers spreads and none of them hurries.
    return max(after or 0.0, random.uniform(most / 2, most))


def _post(api: Api, path: str, body: dict[str, Any], seconds: float) -> Answer:
    try:
        answer = api.post(path, body, seconds)
    except NoAnswer as error:
        raise Again(error.message, unheard=True) from error
    if answer.status in _PASSING or answer.status >= 500:
        raise Again(_shown(answer), retry_after(answer.headers), unheard=answer.status in _UNHEARD)
    return answer


def _is_ours(answer: Answer) -> bool:
    """A router between us may answer 404 as well, for as long as it finds no service behind it."""
    return _error(answer).get("error") == "not_found"


def _shown(answer: Answer) -> str:
    message = _error(answer).get("message", answer.text[:300])
    return f"{answer.status} {' '.join(str(message).split())}".strip()


def _error(answer: Answer) -> dict[str, Any]:
    try:
        body = json.loads(answer.text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
