"""A server with little of everything: the disk under its data or its WAL is full, its connections are all taken."""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from faults.harness.arena import Arena, let_pass
from faults.harness.clients import AGAIN_SECONDS, Client, Http, accept_more, accepted_again
from faults.harness.cluster import Cluster
from faults.harness.service import Service
from support.disks import MemoryDisk
from support.embedded import answers
from support.waiting import until

from sql.migrate import migrate

# Random text, so that nothing makes it smaller.
_PAYLOAD_BYTES = 20_000
_ROUND_MEGABYTES = 24
_SETTINGS = {
    "min_wal_size": "8MB",
    # What a checkpoint frees is free, and does not wait for its next use.
    "wal_recycle": "off",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "1h",
    "max_connections": 330,
}
_END_OURS = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where usename = 'windlass' and application_name like 'windlass%' and application_name <> 'windlass tests'"
)


class Disks(NamedTuple):
    """Where the tablespace of our database lies, and where the WAL."""

    data: MemoryDisk
    wal: MemoryDisk


@contextmanager
def on_a_small_server(folder: Path, rounds: int) -> Iterator[tuple[Service, Disks]]:
    """A service whose role is no superuser, with room for `rounds` of `data`."""
    disks = Disks(
        MemoryDisk(folder / "data", 36 + _ROUND_MEGABYTES * (rounds + 1)),
        MemoryDisk(folder / "wal", 160 + 3 * _ROUND_MEGABYTES * rounds),
    )
    with disks.data, disks.wal, Cluster(folder / "server", **_SETTINGS) as server:
        places = [disk.path / "postgresql" for disk in disks]
        for place in places:
            place.mkdir()
            server.give(place)
        server.make(places[1]).start()
        disks.data.load(_ROUND_MEGABYTES * (rounds + 1))
        server.ask("create role windlass login")
        server.ask(f"create tablespace small owner windlass location '{places[0]}'")
        server.ask("create database jobs owner windlass tablespace small")
        url = server.url_of("jobs", "windlass")
        migrate(url, log=lambda _: None)
        with Arena(url, folder) as arena:
            yield Service(arena, server), disks


def data(service: Service, disks: Disks, rounds: int) -> dict[str, Any]:
    """`rounds` times the tablespace of our database is full for a moment, and then there is room again."""
    again: list[float] = []
    with service.load(_fillers(service)) as fillers:
        for number in reversed(range(rounds)):
            _refused(service, fillers)
            disks.data.load(_ROUND_MEGABYTES * (number + 1))
            again.append(accepted_again(fillers, time.monotonic()))
    # Room for whoever comes next.
    disks.data.drop()
    return {"times_full": rounds, "accepted_again_seconds_most": round(max(again), 3), **service.verdict()}


def wal(service: Service, disks: Disks, rounds: int) -> dict[str, Any]:
    """As `data`, of the WAL: the server falls, and cannot always start again before there is room."""
    again: list[float] = []
    downs = 0
    server = service.server
    for _ in range(rounds):
        server.ask("checkpoint")
        disks.wal.load(disks.wal.free / 2**20 - 8)
        # Without jobs that stay, or the other disk would be full first.
        with service.load([Http(service.web.url, f"small {n}", size=100) for n in range(2)]) as clients:
            _refused(service, clients)
            downs += not server.runs
            disks.wal.drop()
            # What it could not recover from it has to be started from; else it is back by itself.
            until(lambda: not server.runs or answers(server.url), AGAIN_SECONDS, "the server is down, or up")
            if not server.runs:
                server.start()
            again.append(accepted_again(clients, time.monotonic()))
    return {
        "times_full": rounds,
        "times_down": downs,
        "panics": server.log().count("PANIC:"),
        "accepted_again_seconds_most": round(max(again), 3),
        **service.verdict(),
    }


def connections(service: Service, rounds: int, seconds: float = 2.0) -> dict[str, Any]:
    """Others take every connection there is, `rounds` times for `seconds`, and leave again."""
    again, taken = [], 0
    with service.load() as clients:
        for _ in range(rounds):
            accept_more(clients)
            with _crowd(service.url) as crowd:
                before = _unavailable(clients)

                def refused(before: int = before) -> bool:
                    # Of those that were ended some are quicker than the crowd, and are ended again.
                    service.server.ask(_END_OURS)
                    return _unavailable(clients) > before

                until(refused, AGAIN_SECONDS, "a request is answered 503")
                until(lambda: not answers(service.url), AGAIN_SECONDS, "all connections are taken")
                let_pass(seconds)
                taken = max(taken, len(crowd))
            again.append(accepted_again(clients, time.monotonic()))
    return {
        "rounds": rounds,
        "connections_taken": taken,
        "accepted_again_seconds_most": round(max(again), 3),
        **service.verdict(),
    }


def _fillers(service: Service) -> list[Client]:
    text = secrets.token_hex(_PAYLOAD_BYTES // 2)
    return [Http(service.web.url, f"filler {n}", size=5, payload={"text": text}) for n in range(2)]


def _refused(service: Service, clients: Sequence[Client]) -> None:
    enough = _unavailable(clients) + 4
    until(lambda: _unavailable(clients) > enough, AGAIN_SECONDS, "requests are answered 503")
    assert service.web.request("GET", "/healthz").status == 200


def _unavailable(clients: Sequence[Client]) -> int:
    """Requests that were answered 503; whoever speaks SQL is refused by the server itself."""
    return sum(client.unavailable for client in clients if isinstance(client, Http))


@contextmanager
def _crowd(url: str) -> Iterator[list[Any]]:
    """Sessions that do nothing, as many as there can be, and whoever leaves is replaced by one more of them."""
    crowd: list[Any] = []
    leave = threading.Event()

    def come() -> None:
        while not leave.is_set():
            try:
                crowd.append(psycopg2.connect(url, application_name="crowd"))
            except psycopg2.OperationalError:
                leave.wait(0.01)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        leave.set()
        for thread in threads:
            thread.join(10)
        for each in crowd:
            each.close()
