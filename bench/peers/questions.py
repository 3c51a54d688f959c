"""Everything one queue is asked, once: how fast it enqueues and drains, how soon it starts a job, its memory."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import psycopg2

from bench import processes, rates
from bench.database import Server, refuse_problems
from bench.peers.catalog import OURS, Peer
from bench.peers.processes import Workers, ask, working
from bench.peers.tools import Tools

_DRAIN_SECONDS = 180
_SETTLE_SECONDS = 30
_READY_SECONDS = 60
# Handled before pickups are measured; then every worker has long been idle.
_WARM_UPS = 20
_REST_SECONDS = 3

Answers = dict[str, float]


class Sizes(NamedTuple):
    """How many jobs each question takes."""

    drained: int
    singly: int
    picked_up: int


def answers(peer: Peer, tools: Tools, server: Server, folder: Path, sizes: Sizes) -> Answers:
    """Of one round, each question in a database of its own. Raises SystemExit."""
    with _prepared(peer, tools, server) as url:
        singly = ask(peer, tools, url, "single", str(sizes.singly))["seconds"]
    with _prepared(peer, tools, server) as url:
        in_bulk = ask(peer, tools, url, "bulk", str(sizes.drained))["seconds"]
        drained = _drain(peer, tools, url, folder, sizes.drained)
    with _prepared(peer, tools, server) as url:
        picked_up = _pickup(peer, tools, url, folder, sizes.picked_up)
    enqueued = {"one by one/s": sizes.singly / singly}
    if peer.has_bulk:
        enqueued["in bulk/s"] = sizes.drained / in_bulk
    return {**drained, **enqueued, **picked_up}


@contextmanager
def _prepared(peer: Peer, tools: Tools, server: Server) -> Iterator[str]:
    name = f"windlass_bench_{secrets.token_hex(4)}"
    server.run(f"create database {name}")
    try:
        url = server.url_of(name)
        ask(peer, tools, url, "prepare")
        yield url
        if peer is OURS:
            refuse_problems(url)
    finally:
        server.run(f"drop database {name} with (force)")


def _drain(peer: Peer, tools: Tools, url: str, folder: Path, jobs: int) -> Answers:
    conn = psycopg2.connect(url)
    conn.autocommit = True
    try:
        cursor = conn.cursor()
        # Each begins with fresh statistics, and with the preload's pages written.
        cursor.execute("vacuum analyze")
        cursor.execute("checkpoint")
        with working(peer, tools, url, folder) as workers:
            seconds = _span(workers, cursor, peer, jobs)
            memory = workers.memory()
    finally:
        conn.close()
    found = {"drained/s": jobs / seconds}
    if peer is OURS:
        found["by the database's clock"], _ = rates.span(url, jobs)
    memories = zip(("peak resident", "private", "all processes, private"), memory, strict=True)
    return {**found, **{f"{what}, MiB": mebibytes for what, mebibytes in memories}}


def _span(workers: Workers, cursor: psycopg2.extensions.cursor, peer: Peer, jobs: int) -> float:
    """Seconds from the first handler's start until the database shows none left."""
    workers.wait_for(lambda: workers.started().count >= jobs, _DRAIN_SECONDS, f"{jobs} jobs started")
    looked_at = 0

    def none_left() -> bool:
        nonlocal looked_at
        # The moment of its snapshot, since a look that passes over many dead rows itself takes long.
        looked_at = time.monotonic_ns()
        cursor.execute(peer.left)
        return not cursor.fetchall()[0][0]

    workers.wait_for(none_left, _SETTLE_SECONDS, "none left")
    return (looked_at - workers.started().first) / 1e9


def _pickup(peer: Peer, tools: Tools, url: str, folder: Path, jobs: int) -> Answers:
    """From the commit to the handler's start, one job at a time."""
    with working(peer, tools, url, folder, each_start=True) as workers:
        ask(peer, tools, url, "single", str(_WARM_UPS))
        workers.wait_for(lambda: len(workers.each_start()) == _WARM_UPS, _READY_SECONDS, "all warm-ups started")
        processes.rest(_REST_SECONDS)
        since = time.monotonic_ns()
        calls = ask(peer, tools, url, "paced", str(jobs))["calls"]
        workers.wait_for(lambda: len(workers.each_start(since)) == jobs, _SETTLE_SECONDS, f"{jobs} jobs picked up")
        starts = workers.each_start(since)
    waits = [(starts[number] - committed) / 1e6 for number, (_, committed) in enumerate(calls)]
    return {"p50, ms": median(waits), "p99, ms": quantiles(waits, n=100, method="inclusive")[98]}
