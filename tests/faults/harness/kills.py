"""Workers killed at random instants of their work, and how soon what they held runs again."""

import os
import random
import signal
from collections import defaultdict
from typing import Any, NamedTuple

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from faults.harness.feed import Feeder
from support.pool import Pool
from support.tables import drained, running
from support.waiting import until

from sql.connection import Connection

WORKERS = 4
# A worker counts what it has settled at the end of its batch, and one that is killed before that does not.
_UNCOUNTED_SECONDS = 1.0
_LEASES = (
    "select claimed.id::text, claimed.worker_id, extract(epoch from claimed.at)::float8,"
    " extract(epoch from gone.at)::float8,"
    " (select extract(epoch from min(again.at))::float8 from public.history as again"
    " where again.id = claimed.id and again.n > claimed.n and (again.what = 'claimed' or again.what = 'ended'))"
    " from public.history as claimed left join public.history as gone"
    " on gone.id = claimed.id and gone.fence = claimed.fence and gone.what = 'left'"
    " where claimed.what = 'claimed'"
)


class _Lease(NamedTuple):
    """When it began and ended, and when its job was next claimed or ended."""

    job: str
    worker: int
    began: float
    left: float | None
    on: float | None


def run(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` workers killed, each as soon as the one before is gone or a little later.

    `again_seconds`: from the kill until a job that the victim held is claimed by another, or, finished before it,
    settled. `uncounted_without_reason`: successes that no metric counts and no kill explains.
    """
    chance, connection = random.Random(seed), arena.connection
    history.record(connection)
    connection.execute("create index on public.history (id, n)")
    pool = arena.pool(worker_processes=WORKERS).ready()
    killed: list[tuple[int, float]] = []
    with Feeder(arena, random.Random(f"{seed} jobs"), slowest=0.05) as feeder:
        for _ in range(rounds):
            let_pass(chance.uniform(0.0, 0.15))
            killed.append(_kill(pool, connection, chance))
        ids = feeder.end()
        drained(connection, 60)
    leases = [_Lease(*row) for row in connection.fetch_all(_LEASES)]
    waits, settled_just_before = _of_victims(leases, killed)
    uncounted = len(ids) - pool.metric("worker_jobs_completed_total", outcome="succeeded")
    return {
        "seed": seed,
        "killed": rounds,
        "held_when_killed": len(waits),
        "again_seconds_median": round(_at(waits, 0.5), 3),
        "again_seconds_p99": round(_at(waits, 0.99), 3),
        "again_seconds_most": round(_at(waits, 1.0), 3),
        "uncounted": int(uncounted),
        "uncounted_without_reason": int(max(0, -uncounted, uncounted - len(waits) - settled_just_before)),
        "stranded": running(connection),
        **history.verdict(connection, ids, arena.effects.all(), most_attempts=100),
    }


def _kill(pool: Pool, connection: Connection, chance: random.Random) -> tuple[int, float]:
    """Somebody who has an identity; which it was, and when in the database's time."""
    victim, identity = chance.choice(sorted(until(pool.registered, 20, "a worker is at work").items()))
    os.kill(victim, signal.SIGKILL)
    row = connection.fetch_one("select extract(epoch from clock_timestamp())::float8")
    assert row is not None
    until(lambda: victim not in pool.registered(), 20, "it is gone")
    return identity, row[0]


def _of_victims(leases: list[_Lease], killed: list[tuple[int, float]]) -> tuple[list[float], int]:
    """How long what they held waited, in order; and how many leases had ended so shortly before that none counts."""
    of_worker = defaultdict(list)
    for lease in leases:
        of_worker[lease.worker].append(lease)
    waits, before = [], 0
    for worker, at in killed:
        for lease in of_worker[worker]:
            if lease.left is None or lease.left > at:
                waits.append(max(0.0, (lease.on or float("inf")) - at))
            else:
                before += lease.left > at - _UNCOUNTED_SECONDS
    return sorted(waits), before


def _at(waits: list[float], share: float) -> float:
    return waits[min(len(waits) - 1, int(len(waits) * share))] if waits else 0.0
