"""The power goes: what PostgreSQL had not on the disk at that moment is not there when it starts again."""

import random
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults.harness.arena import Arena, let_pass
from faults.harness.clients import Client, Sql, accept_more, accepted, enqueuing, missing
from faults.harness.cluster import Cluster, DidNotStart
from faults.harness.service import Service
from support.database import open_connection
from support.disks import LoopDisk

from sql import checks
from sql.errors import StorageError

_MEGABYTES = 512
# What a server says whose files are not what it wrote; anything else that keeps it down is no loss of data.
_DAMAGE = re.compile(
    r"^.*(?:PANIC|FATAL|ERROR): .*(?:checkpoint record|control file|pg_control|invalid page|zero page|checksum|corrupt"
    r"|could not read (?:block|file)|could not open (?:file|directory) \"(?:base|global|pg_).*No such file"
    r"|could not access status|recovery point|is not satisfied|contains invalid data|relation mapping file"
    r"|cache lookup failed|catalog is missing|not a valid data directory).*$",
    re.MULTILINE,
)


def power_cuts(folder: Path, rounds: int, seed: int = 0) -> dict[str, Any]:
    """`rounds` cuts under a service and its clients, on a server as it comes."""
    chance = random.Random(seed)
    outages = []
    with LoopDisk(folder / "disk", _MEGABYTES) as disk, _on(disk, folder) as server:
        server.make()
        disk.sync()
        server.start().migrated()
        with Arena(server.url, folder) as arena:
            service = Service(arena, server)
            with service.load() as clients:
                for _ in range(rounds):
                    accept_more(clients, 100)
                    let_pass(chance.uniform(0.0, 0.5))
                    began = time.monotonic()
                    _cut(disk, server)
                    server.start()
                    outages.append(time.monotonic() - began)
            return {
                "cuts": rounds,
                "outage_seconds_median": round(statistics.median(outages), 2),
                **service.verdict(),
            }


def unsafe(folder: Path, seconds: float = 1.0, **settings: str) -> dict[str, Any]:
    """One cut under clients of a server with such settings, and what `windlass check` says of them.

    `started` is whether it came back at all. If not, everything is lost: but only where its log names damage, which
    a server that writes to the disk has not. Raises whatever else was in the way.
    """
    with LoopDisk(folder / "disk", _MEGABYTES) as disk, _on(disk, folder, **settings) as server:
        server.make().start().migrated()
        problems = _problems(server)
        disk.sync()
        clients: Sequence[Client] = [Sql(server.url, f"sql {n}", pause=0.0) for n in range(2)]
        with enqueuing(clients):
            accept_more(clients, 500)
            let_pass(seconds)
            _cut(disk, server)
        figures: dict[str, Any] = {"problems": problems, "accepted": accepted(clients)}
        before = len(server.log())
        try:
            server.start()
            conn = open_connection(server.url)
            try:
                return {**figures, "started": True, "lost": missing(conn, clients)}
            finally:
                conn.close()
        except (DidNotStart, AssertionError, StorageError):
            damage = damage_in(server.log()[before:])
            if settings.get("fsync") != "off" or not damage:
                raise
            return {**figures, "started": False, "damage": damage, "lost": accepted(clients)}


def damage_in(log: str) -> str:
    """The first line of a server's log that says its files are damaged, or nothing."""
    found = _DAMAGE.search(log)
    return found[0] if found else ""


def _on(disk: LoopDisk, folder: Path, **settings: str) -> Cluster:
    # Its socket and its log stay: they are not what the power is taken from.
    server = Cluster(folder / "server", data=disk.path / "data", **settings)
    server.data.mkdir()
    server.give(server.data)
    return server


def _cut(disk: LoopDisk, server: Cluster) -> None:
    disk.cut()
    server.kill()
    disk.unmount()
    disk.mount()


def _problems(server: Cluster) -> list[str]:
    conn = open_connection(server.url)
    try:
        return [problem.partition(":")[0] for problem in checks.server(conn)]
    finally:
        conn.close()
