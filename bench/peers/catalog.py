"""The queues that are compared: how each is run at its best, how many jobs it gets, and what it keeps of them."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.peers.tools import ADAPTERS, Tools
from bench.processes import ROOT

_WORKERS = 2


# Each is one of a kind, and so is known by itself.
@dataclass(frozen=True, eq=False)
class Peer:
    """One queue in one configuration.

    `kept` is what stands in the database of a job that succeeded, `jobs` makes a drain last some seconds, and `left`
    asks whether any is unfinished. `pool` starts all workers at once, where the queue has a program for that; `program`
    runs the adapter, where that is neither of the tools.
    """

    name: str
    configuration: str
    kept: str
    jobs: int
    left: str
    adapter: str
    pool: Sequence[str] = ()
    program: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    # Where there is no enqueue for many, filling a database is no measurement of it.
    has_bulk: bool = True

    def speaking(self, tools: Tools) -> list[str]:
        """The command of its adapter, without an action."""
        program = self.program or (tools.node if self.adapter.endswith(".cjs") else tools.python)
        return [program, str(ADAPTERS / self.adapter)]

    def working(self, tools: Tools) -> list[list[str]]:
        """The commands that together are its workers."""
        if self.pool:
            program, *words = self.pool
            return [[str(tools.bin_dir / program), *words]]
        return [[*self.speaking(tools), "work"]] * _WORKERS


OURS = Peer(
    name="windlass",
    configuration=f"one pool of {_WORKERS} workers, everything as it comes",
    kept="the whole job, with attempts, times and worker",
    jobs=300_000,
    left="select exists (select from windlass.ready) or exists (select from windlass.running)",
    adapter="with_windlass.py",
    program=sys.executable,
    pool=(sys.executable, "-m", "workerpool"),
    environment={
        "KIND_MODULES": "windlass_kind",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ADAPTERS}",
        "WORKER_PROCESSES": str(_WORKERS),
        "WORKER_METRICS_BIND_ADDR": "127.0.0.1:0",
    },
)

_GRAPHILE_WORKER = Peer(
    name="graphile-worker",
    configuration="0.18.0, Node 22, 2 processes; the preset its performance page gives: localQueue 500, "
    "concurrentJobs 24, completeJobBatchDelay 0",
    kept="nothing",
    jobs=300_000,
    left="select exists (select from graphile_worker._private_jobs)",
    adapter="with_graphile_worker.cjs",
    environment={"BENCH_BATCH": "500"},
)

_PGQUEUER = Peer(
    name="pgqueuer",
    configuration="1.6.0, asyncpg, uvloop, 2 processes, durable tables, `pgq autovac`, batch_size 100 (10 unless set)",
    kept="three log rows, without the payload",
    jobs=120_000,
    left="select exists (select from pgqueuer)",
    adapter="with_pgqueuer.py",
    environment={"BENCH_BATCH": "100"},
)

_ALL = (
    OURS,
    _GRAPHILE_WORKER,
    # No page of theirs says so; of the sizes tried here these were the quickest, by 10 to 30 %.
    replace(
        _GRAPHILE_WORKER,
        name="graphile-worker-1000",
        configuration="as graphile-worker, but localQueue 1000",
        environment={"BENCH_BATCH": "1000"},
    ),
    _PGQUEUER,
    replace(
        _PGQUEUER,
        name="pgqueuer-500",
        configuration="as pgqueuer, but batch_size 500",
        environment={"BENCH_BATCH": "500"},
    ),
    Peer(
        name="pg-boss",
        configuration="12.38.0, Node 22, 2 processes, batchSize 500, localConcurrency 2, burstWhenBatchFull, "
        "LISTEN/NOTIFY",
        kept="the whole job",
        jobs=150_000,
        left="select exists (select from pgboss.job where name = 'noop' and state < 'completed')",
        adapter="with_pg_boss.cjs",
    ),
    Peer(
        name="procrastinate",
        configuration="3.10.0, psycopg, 2 processes, concurrency 20",
        kept="the whole job and three events",
        jobs=10_000,
        left="select exists (select from procrastinate_jobs where status in ('todo', 'doing'))",
        adapter="with_procrastinate.py",
    ),
    Peer(
        name="chancy",
        configuration="0.26.0, psycopg, 2 processes, async executor, concurrency 200, eager polling",
        kept="the whole job",
        jobs=20_000,
        left="select exists (select from chancy_jobs where state in ('pending', 'running', 'retrying'))",
        adapter="with_chancy.py",
    ),
    Peer(
        name="dramatiq-pg",
        configuration="0.12.0, psycopg2, 2 processes of 8 threads",
        kept="the whole job",
        # With 20,000 it stopped before it was through.
        jobs=4_000,
        left="select exists (select from dramatiq.queue where state in ('queued', 'consumed'))",
        adapter="with_dramatiq_pg.py",
        pool=("dramatiq", "--processes", str(_WORKERS), "--threads", "8", "with_dramatiq_pg"),
        has_bulk=False,
    ),
)

PEERS = {peer.name: peer for peer in _ALL}
