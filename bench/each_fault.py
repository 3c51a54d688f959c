"""Does each fault alone leave nothing lost? `python -m bench.each_fault --scale 1`

One fault at a time, as often as its row says, under load that keeps a ledger of its own; what happened in the database
is read from a table that triggers write. *Wrong* counts what may never be, whatever the fault: jobs settled twice or
under a stale fence, over-attempted, made twice, phantom, unfinished, without effect, processes that ended, and so on;
one that is not 0, or a lost job, ends the bench with an error. Asynchronous failover loses by design (and so do servers
that are not safe: they are among `bench.controls`). The other figures are named as the functions in
`tests/faults/harness` name them. `--scale` multiplies the rounds, `--only` names some of the faults.
"""

import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from bench import database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness import (
    clients,
    clocks,
    cuts,
    deafness,
    failover,
    held,
    history,
    holders,
    leaving,
    links,
    outside,
    power,
    restarts,
    small_server,
    zombies,
)
from faults.harness.arena import Arena
from faults.harness.clients import sound
from faults.harness.history import faultless
from faults.harness.service import Service, on_a_server
from support.database import Databases
from support.server import in_reachable_folder

Figures = Mapping[str, Any]


@contextmanager
def _arena(databases: Databases) -> Iterator[Arena]:
    with in_reachable_folder() as folder, databases.migrated() as url, Arena(url, folder) as arena:
        yield arena


def _in_arena(fault: Callable[[Arena, int, int], dict[str, Any]]) -> Callable[[Databases, int], Figures]:
    def run(databases: Databases, rounds: int) -> Figures:
        with _arena(databases) as arena:
            return faultless(fault(arena, rounds, random.getrandbits(32)))

    return run


def _on_a_server(fault: Callable[[Any, int], dict[str, Any]]) -> Callable[[Databases, int], Figures]:
    def run(_: Databases, rounds: int) -> Figures:
        with in_reachable_folder() as folder, on_a_server(folder) as service:
            return sound(fault(service, rounds))

    return run


def _on_a_pair(fault: Callable[[Any, Any, int], dict[str, Any]]) -> Callable[[Databases, int], Figures]:
    def run(_: Databases, rounds: int) -> Figures:
        with in_reachable_folder() as folder, failover.on_a_pair(folder) as (service, pair):
            return sound(fault(service, pair, rounds))

    return run


def _on_small_disks(fault: Callable[[Any, Any, int], dict[str, Any]]) -> Callable[[Databases, int], Figures]:
    def run(_: Databases, rounds: int) -> Figures:
        with in_reachable_folder() as folder, small_server.on_a_small_server(folder, rounds) as (service, disks):
            return sound(fault(service, disks, rounds))

    return run


def _crowded(service: Service, _: small_server.Disks, rounds: int) -> dict[str, Any]:
    return small_server.connections(service, rounds)


def _power(_: Databases, rounds: int) -> Figures:
    with in_reachable_folder() as folder:
        return sound(power.power_cuts(folder, rounds))


def _matrix(databases: Databases, _rounds: int) -> Figures:
    with _arena(databases) as arena:
        return faultless(holders.matrix(arena))


def _every_call(kind: str) -> Callable[[Databases, int], Figures]:
    return _in_arena(lambda arena, _rounds, seed: cuts.worker(arena, kind, None, seed))


# Each with its rounds at scale 1.
FAULTS: dict[str, tuple[int, Callable[[Databases, int], Figures]]] = {
    "PostgreSQL dies and starts again": (30, _on_a_server(restarts.restarts)),
    "every session ended ten times a second": (3, _on_a_server(partial(restarts.storm, seconds=20.0))),
    "a snapshot held open": (1, _on_a_server(partial(held.snapshot, seconds=120.0))),
    "a table locked": (3, _on_a_server(held.table_lock)),
    "NOTIFY fails": (1, _on_a_server(lambda service, _: deafness.notifications(service))),
    "the listener is stuck": (1, _on_a_server(lambda service, _: deafness.stuck_listener(service))),
    "a synchronous standby takes over": (20, _on_a_pair(failover.failovers)),
    "a commit whose standby is not there": (5, _on_a_pair(failover.silent_acknowledgements)),
    "an asynchronous standby takes over (it loses)": (3, _on_a_pair(failover.asynchronous_failovers)),
    "the power goes": (30, _power),
    "the disk is full": (3, _on_small_disks(small_server.data)),
    "the disk under the WAL is full": (3, _on_small_disks(small_server.wal)),
    "all connections are taken": (
        3,
        _on_small_disks(lambda service, _, rounds: small_server.connections(service, rounds)),
    ),
    **{f"a worker killed at every system call, {kind}": (1, _every_call(kind)) for kind in cuts.JOBS},
    "a steward killed at every system call": (1, _in_arena(lambda arena, _, seed: cuts.steward(arena, None, seed))),
    "a web process killed at every system call": (1, _in_arena(lambda arena, _, seed: cuts.web(arena, None, seed))),
    "zombies": (300, _in_arena(zombies.run)),
    "TERM to everybody, twice": (50, _in_arena(leaving.term_storm)),
    "the supervisor killed": (30, _in_arena(leaving.supervisor_kills)),
    "everything replaced under load": (10, _in_arena(leaving.rolling_replacement)),
    "web processes killed in the middle of requests": (50, _in_arena(leaving.web_kills)),
    "a dead link": (5, _in_arena(links.dead)),
    "a link that flaps": (10, _in_arena(links.flapping)),
    "clocks ten minutes apart, and jumping": (3, _in_arena(clocks.apart)),
    "words of HTTP holders lost, doubled, late": (1, _matrix),
    "webhook receivers that fail": (100, _in_arena(outside.webhooks)),
    "mail servers that fail": (50, _in_arena(outside.mails)),
}


# What counts the jobs of a fault; the first that it has.
_JOBS = ("jobs", "accepted", "mails", "deliveries", "cases")
_WRONG = {*clients.NEVER, *history.NEVER} - {"lost"}
# They say what was put in, or again what stands in another column.
_LEFT_OUT = {*_JOBS, *_WRONG, "lost", "seed", "rounds", "starts", "unknown", "started"}


def _in_words(figures: Figures) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:g}"
        for name, value in figures.items()
        if name not in _LEFT_OUT and isinstance(value, int | float)
    )


def main() -> None:
    """Prints a line per figure; a fault that left something wrong is named at the end."""
    asked = report.asked(__doc__, (1, 1), scale=(1.0, 0.05), only=("", "words of HTTP holders lost, doubled, late"))
    found = report.Report("each_fault", asked)
    wrong = []
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        databases = Databases(server.url)
        for fault, (rounds, run) in FAULTS.items():
            if asked.only and fault not in asked.only.split(";"):
                continue
            rounds = max(1, int(rounds * asked.scale))
            try:
                figures = run(databases, rounds)
            except Exception as error:
                traceback.print_exc()
                wrong.append(f"{fault}: {type(error).__name__}: {error}")
                continue
            case = {"fault": fault, "rounds": rounds, "what it came to": _in_words(figures)}
            jobs = next((figures[name] for name in _JOBS if figures.get(name)), 0)
            found.add(case, {"jobs": jobs, "lost": figures["lost"], "wrong": sum(figures.get(n, 0) for n in _WRONG)})
        databases.close()
    found.finish()
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
