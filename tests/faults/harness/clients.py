"""Clients that enqueue while faults go on, and their ledgers: what was accepted and what got no answer.

The ledgers are outside the database. One that is accepted was answered so; one that is unknown may be there or not.
"""

import itertools
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import urllib3
from faults.harness import history, never
from support.waiting import until
from support.web import hang_up

from sql import checks, jobs
from sql.connection import Connection, connect
from sql.errors import StorageError

KIND = "note"
_JOB = jobs.NewJob(queue="default", kind=KIND, priority=0, max_attempts=50, timeout_seconds=60, payload="{}")
_HTTP_JOB = {"kind": KIND, "payload": {}, "max_attempts": 50}
_CHUNK = 10_000
_SOON_SECONDS = 0.05
AGAIN_SECONDS = 60.0
"""How long anything may take to come back."""


class Client(threading.Thread):
    """Enqueues, and goes on until it is to leave. `pause`: seconds between two requests."""

    def __init__(self, name: str, pause: float) -> None:
        super().__init__(name=name)
        self.accepted: dict[str, float] = {}
        """Id → `time.monotonic()` of the answer."""
        self.unknown = 0
        self.unavailable = 0
        self.refused: list[str] = []
        self.leave = threading.Event()
        self._pause = pause

    def run(self) -> None:
        while not self.leave.is_set():
            self.enqueue()
            self.leave.wait(self._pause)
        self.close()

    def enqueue(self) -> None:
        """One request, or one and its repetitions."""
        raise NotImplementedError

    def close(self) -> None:
        """What it holds open."""

    def accept(self, *ids: str) -> None:
        """They were answered for."""
        self.accepted.update(dict.fromkeys(ids, time.monotonic()))


class Http(Client):
    """POST /jobs. `keyed`: with an idempotency key, repeated until it is answered; else what got 503 is unknown.

    `size` more than 1: so many by POST /jobs/bulk.
    """

    def __init__(
        self, url: str, name: str, *, keyed: bool = False, size: int = 1, payload: Any = None, pause: float = 0.002
    ) -> None:
        super().__init__(name, pause)
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10))
        self._url = f"{url}/jobs"
        self._keyed, self._size = keyed, size
        self._job = {**_HTTP_JOB, "payload": payload or {}}
        self._count = 0
        self.slowest = 0.0
        """Seconds of the slowest answer."""

    def enqueue(self) -> None:
        """One job or bulk."""
        self._count += 1
        headers = {"Idempotency-Key": f"{self.name}-{self._count}"} if self._keyed else {}
        while not self._answered(headers):
            # It was told when to come back; so as to see the end of the outage it comes sooner.
            self.leave.wait(_SOON_SECONDS)
            if not self._keyed:
                break
            if self.leave.is_set():
                self.unknown += 1
                break

    def close(self) -> None:
        hang_up(self._http)

    def _answered(self, headers: dict[str, str]) -> bool:
        body = self._job if self._size == 1 else {"jobs": [self._job] * self._size}
        began = time.monotonic()
        try:
            answer = self._http.request(
                "POST", self._url if self._size == 1 else f"{self._url}/bulk", json=body, headers=headers
            )
        except urllib3.exceptions.HTTPError as error:
            self.refused.append(repr(error))
            return True
        self.slowest = max(self.slowest, time.monotonic() - began)
        results = answer.json()["results"] if answer.status == 200 and self._size > 1 else None
        if results is not None:
            self._take(results)
        elif answer.status in (200, 201):
            self.accept(answer.json()["id"])
        elif answer.status == 503 and int(answer.headers.get("Retry-After", 0)) >= 1:
            self.unavailable += 1
            self.unknown += 0 if self._keyed else self._size
            return False
        else:
            self.refused.append(f"{answer.status} {answer.data!r}")
        return True

    def _take(self, results: list[dict[str, Any]]) -> None:
        self.accept(*(result["job"]["id"] for result in results if result["status"] == 201))
        without = [result["status"] for result in results if result["status"] != 201]
        self.unknown += without.count(503)
        self.refused += [str(status) for status in without if status != 503]


class Sql(Client):
    """`sql.jobs.enqueue`, `size` at a time, on a connection that is opened again when it broke."""

    def __init__(self, url: str, name: str, *, size: int = 1, pause: float = 0.002) -> None:
        super().__init__(name, pause)
        self._url, self._size = url, size
        self._conn: Connection | None = None

    def enqueue(self) -> None:
        """One statement."""
        try:
            if self._conn is None or not self._conn.usable:
                self._conn = connect(self._url, application_name="windlass client")
        except StorageError:
            self.unavailable += 1
            self.leave.wait(_SOON_SECONDS)
            return
        try:
            self.accept(*(one.id for one in jobs.enqueue(self._conn, [_JOB] * self._size)))
        except StorageError:
            self.unavailable += 1
            self.unknown += self._size

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()


class Careless(Client):
    """`windlass.enqueue` by plain psycopg2: what it takes for accepted is whatever raised nothing."""

    def __init__(self, url: str, name: str, pause: float = 0.002) -> None:
        super().__init__(name, pause)
        self._url = url
        self._conn: Any = None

    def enqueue(self) -> None:
        """One job and its commit."""
        try:
            if self._conn is None or self._conn.closed:
                self._conn = psycopg2.connect(self._url, target_session_attrs="read-write", connect_timeout=3)
            with self._conn, self._conn.cursor() as cursor:
                cursor.execute("select windlass.enqueue(%s, '{}', max_attempts => 50)", [KIND])
                (job_id,) = cursor.fetchone()
            self.accept(str(job_id))
        except psycopg2.Error:
            self.unknown += 1
            self.leave.wait(_SOON_SECONDS)

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()


@contextmanager
def enqueuing(clients: Sequence[Client]) -> Iterator[None]:
    """They enqueue during the block, and have left after it."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        for client in clients:
            client.leave.set()
        for client in clients:
            client.join(60)
            assert not client.is_alive(), f"{client.name} hangs"


def accepted(clients: Sequence[Client]) -> int:
    """How many jobs the clients were answered for."""
    return sum(len(client.accepted) for client in clients)


def accept_more(clients: Sequence[Client], count: int = 50) -> None:
    """Waits until so many more are."""
    enough = accepted(clients) + count
    until(lambda: accepted(clients) >= enough, AGAIN_SECONDS, f"{count} more jobs are accepted")


def accepted_again(clients: Sequence[Client], moment: float) -> float:
    """Seconds from `moment`, in `time.monotonic()`, to the first answer after it, once it has come."""
    found = until(lambda: first_accepted_after(clients, moment), AGAIN_SECONDS, "a job is accepted again")
    return (found or moment) - moment


def first_accepted_after(clients: Sequence[Client], moment: float) -> float | None:
    """When, in `time.monotonic()`, the first answer after `moment` came; None while there is none."""
    # From the newest back: a ledger may be long, and its end is what is asked for.
    found = []
    for client in clients:
        after = None
        for at in reversed(list(client.accepted.values())):
            if at < moment:
                break
            after = at
        found.append(after)
    return min((at for at in found if at is not None), default=None)


def longest_gap(clients: Sequence[Client]) -> float:
    """Seconds between two answers to any of them."""
    answers = sorted(at for client in clients for at in client.accepted.values())
    return max((after - before for before, after in itertools.pairwise(answers)), default=0.0)


def missing(conn: Connection, clients: Sequence[Client]) -> int:
    """Of the accepted jobs, how many are not there."""
    ids = _ids(clients)
    there = 0
    for first in range(0, len(ids), _CHUNK):
        row = conn.fetch_one(
            "select count(*) from windlass.jobs where id = any(%(ids)s::uuid[])", ids=ids[first : first + _CHUNK]
        )
        assert row is not None
        there += row[0]
    return len(ids) - there


def _ids(clients: Sequence[Client]) -> list[str]:
    return sorted(set().union(*(client.accepted for client in clients)))


def ledger(conn: Connection, clients: Sequence[Client], others: int = 0) -> dict[str, Any]:
    """Figures of what the clients were told, against the tables, once nothing runs any more. `others`: how many jobs
    may be there that are none of theirs.

    `phantom` are jobs beyond all that anybody can have asked for: those no client has the id of, less the requests that
    got no answer. It is a number and no list: of what was asked without an answer and is not there, each can hide one.
    Two jobs of one request without a key are found only where fewer such were without an answer; by a key, as
    `doubled_keys`, always.
    """
    unfinished, succeeded, total, keys = conn.fetch_one(
        "select (select count(*) from windlass.ready) + (select count(*) from windlass.running),"
        " (select count(*) from windlass.done where status = 'succeeded'), count(*),"
        " count(idempotency_key) - count(distinct idempotency_key) from windlass.jobs"
    ) or (0, 0, 0, 0)
    unknown = sum(client.unknown for client in clients)
    lost = missing(conn, clients)
    # What is lost is not there to be counted; it must not make room for what nobody asked for.
    nobodys = total - (len(_ids(clients)) - lost)
    return {
        "accepted": accepted(clients),
        "unknown": unknown,
        "unavailable": sum(client.unavailable for client in clients),
        "refused": sum(len(client.refused) for client in clients),
        "refusals": sorted({text for client in clients for text in client.refused})[:3],
        "lost": lost,
        "phantom": max(0, nobodys - unknown - others),
        "doubled_keys": keys,
        "unfinished": unfinished,
        "ended_otherwise": total - unfinished - succeeded,
        "broken_states": len(checks.states(conn)),
    }


NEVER = (
    "refused",
    "lost",
    "phantom",
    "doubled_keys",
    "unfinished",
    "ended_otherwise",
    "broken_states",
    "never_ran",
    "exits",
)
"""Figures that are 0 whatever was done to the server."""


def sound(figures: dict[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """As `history.faultless`, of a service whose server suffered."""
    return never.checked(figures, {*NEVER, *history.NEVER}.difference(without))
