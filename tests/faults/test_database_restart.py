"""PostgreSQL restarted in the middle of everything: the service waits, loses nothing and comes back by itself."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest
import urllib3
from support.database import open_connection
from support.embedded import answers
from support.service import Surroundings
from support.waiting import until

from sql import checks, jobs, stats
from sql.embedded import EmbeddedServer

RESTARTS = 5


@pytest.fixture
def surroundings() -> Iterator[Surroundings]:
    made = Surroundings()
    yield made
    made.clear()


@pytest.fixture
def server(surroundings: Surroundings) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(surroundings.folder / "outside", smart_seconds=1) as server:
        yield server
        # The service goes before its database does.
        surroundings.end()


class Enqueuer(threading.Thread):
    """One client that enqueues by key and repeats what got no answer; its ledger is outside the database."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name=name)
        self.accepted: set[str] = set()
        self.refused: list[int] = []
        self.unavailable = 0
        self.leave = threading.Event()
        self._jobs = f"{url}/jobs"
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10))

    def run(self) -> None:
        count = 0
        while not self.leave.is_set():
            count += 1
            self._enqueue(f"{self.name}-{count}")

    def _enqueue(self, key: str) -> None:
        job = {"kind": "summarize_text", "payload": {"text": "It rains. It pours. The old man snores."}}
        while True:
            answer = self._http.request("POST", self._jobs, json=job, headers={"Idempotency-Key": key})
            if answer.status in (200, 201):
                self.accepted.add(answer.json()["id"])
                return
            if answer.status != 503:
                self.refused.append(answer.status)
                return
            assert int(answer.headers["Retry-After"]) >= 1
            self.unavailable += 1
            self.leave.wait(0.05)


def accepted(clients: list[Enqueuer]) -> int:
    """How many jobs the service has answered for."""
    return sum(len(client.accepted) for client in clients)


def restart(server: EmbeddedServer) -> None:
    """kill -QUIT: the server ends as in a crash, and its keeper starts it again."""
    pid = server.pid
    os.kill(pid, signal.SIGQUIT)
    until(lambda: answers(server.url) and server.pid != pid, 30, "the server is back")


def test_nothing_is_lost_and_nobody_exits_while_postgresql_restarts_under_load(
    surroundings: Surroundings, server: EmbeddedServer
) -> None:
    surroundings.up(DATABASE_URL=server.url, WORKER_PROCESSES="4")
    before = set(surroundings.everybody())
    clients = [Enqueuer(surroundings.url, f"client-{n}") for n in range(2)]
    for client in clients:
        client.start()
    try:
        for _ in range(RESTARTS):
            enough = accepted(clients) + 50
            until(lambda enough=enough: accepted(clients) > enough, 30, "jobs are accepted")
            restart(server)
    finally:
        for client in clients:
            client.leave.set()
        for client in clients:
            client.join(30)
    accepted_ids = set().union(*(client.accepted for client in clients))
    assert [client.refused for client in clients] == [[], []]
    assert len(accepted_ids) > 50 * RESTARTS

    conn = open_connection(server.url)
    try:
        until(lambda: not stats.depths(conn), 30, "the queue is drained")
        stored = jobs.find_many(conn, sorted(accepted_ids))
        assert set(stored) == accepted_ids
        assert {job.status for job in stored.values()} == {"succeeded"}
        assert checks.states(conn) == []
    finally:
        conn.close()
    assert set(surroundings.everybody()) == before
