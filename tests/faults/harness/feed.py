"""Work for a fault to hit: a queue that is never empty, and clients over HTTP that enqueue by key."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from faults.harness.arena import Arena, let_pass
from support.tables import put

_ENOUGH = 150


class Feeder(threading.Thread):
    """Keeps some jobs due for pools (`note`, some of them slow) and, if asked for, for holders (`external`)."""

    def __init__(self, arena: Arena, chance: random.Random, *, external: bool = False, slowest: float = 0.2) -> None:
        super().__init__(name="feeder")
        self.ids: list[str] = []
        self._connection, self._chance = arena.connect(), chance
        self._external, self._slowest = external, slowest
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set():
                if self._waiting() < _ENOUGH:
                    self._feed()
                self._over.wait(0.03)
        except BaseException as error:
            self._error = error

    def end(self) -> list[str]:
        """The ids of all jobs there ever were."""
        self._over.set()
        self.join(30)
        if self._error:
            raise self._error
        return self.ids

    def _waiting(self) -> int:
        row = self._connection.fetch_one("select count(*) from windlass.ready")
        assert row is not None
        return int(row[0])

    def _feed(self) -> None:
        seconds = [0.0, 0.0, 0.0, 0.002, 0.02, self._slowest]
        notes = [{"seconds": self._chance.choice(seconds)} for _ in range(40)]
        self.ids += put(self._connection, "note", *notes, max_attempts=100)
        if self._external:
            self.ids += put(self._connection, "external", *({} for _ in range(10)), max_attempts=100)

    def __enter__(self) -> "Feeder":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(30)


class Client(threading.Thread):
    """Enqueues one job after the other by key, and repeats what was not answered.

    `addresses()` are asked in turn, as a router would: whoever refuses the connection is passed over. Each request has
    a connection of its own.

    accepted  key → the ids it was answered with
    refused   connections that were refused
    lost      requests that were sent, or begun, and not answered
    failed    the statuses of answers that were neither 200 nor 201 (503 is counted as `unavailable` and repeated)
    slowest   seconds from a request to its answer, or to being given up
    """

    def __init__(self, name: str, addresses: Callable[[], Sequence[str]], gap: float = 0.0, **fields: Any) -> None:
        super().__init__(name=name)
        self.accepted: dict[str, set[str]] = {}
        self.refused = self.lost = self.unavailable = 0
        self.failed: list[int] = []
        self.slowest = 0.0
        self._addresses, self._gap = addresses, gap
        self._job = {"kind": "note", "payload": {}, **fields}
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            count = 0
            while not self._over.is_set():
                count += 1
                self._insist(f"{self.name}-{count}")
                self._over.wait(self._gap)
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        """Once what it asked last has been answered."""
        self._over.set()
        self.join(60)
        assert not self.is_alive(), f"{self.name} waits for an answer"
        if self._error:
            raise self._error

    def _insist(self, key: str) -> None:
        give_up_at = time.monotonic() + 40
        while time.monotonic() < give_up_at:
            for address in self._addresses():
                began = time.monotonic()
                status, body = self._ask(address, key)
                self.slowest = max(self.slowest, time.monotonic() - began)
                if status in (200, 201):
                    self.accepted.setdefault(key, set()).add(json.loads(body)["id"])
                    return
                if status == 503:
                    self.unavailable += 1
                elif status:
                    self.failed.append(status)
                    return
            let_pass(0.02)
        raise AssertionError(f"{self.name}: nobody answered")

    def _ask(self, address: str, key: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        try:
            connection.connect()
        except OSError:
            self.refused += 1
            return 0, b""
        try:
            headers = {"Idempotency-Key": key, "Content-Type": "application/json", "Connection": "close"}
            connection.request("POST", "/jobs", json.dumps(self._job), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.lost += 1
            return 0, b""
        finally:
            connection.close()


def keys_and_jobs(arena: Arena, clients: Sequence[Client]) -> dict[str, int]:
    """What the clients were told, held against the tables."""
    told = {key: ids for client in clients for key, ids in client.accepted.items()}
    rows = arena.connection.fetch_all("select idempotency_key, id::text from windlass.jobs")
    stored = [(key, job_id) for key, job_id in rows if key is not None]
    return {
        "accepted": len(told),
        "lost": len(set().union(*told.values()) - {job_id for _, job_id in stored}),
        "keys_with_two_answers": sum(len(ids) > 1 for ids in told.values()),
        "keys_with_two_jobs": len(stored) - len(dict(stored)),
        "jobs_nobody_asked_for": len({key for key, _ in stored} - told.keys()),
        "refused_connections": sum(client.refused for client in clients),
        "unanswered": sum(client.lost for client in clients),
        "unavailable": sum(client.unavailable for client in clients),
        "failed": sum(len(client.failed) for client in clients),
        "slowest_answer_seconds": round(max(client.slowest for client in clients), 3),
    }
