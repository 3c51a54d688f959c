"""Workers killed at random instants of their work, and how soon what they held is claimed again."""

import os
import random
import signal
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from faults.harness.feed import Feeder
from support.pool import Pool
from support.tables import drained
from support.waiting import until

from sql.connection import Connection

WORKERS = 4
# What one statement settles leaves the table within this.
_ONE_SETTLE_SECONDS = 0.02
_LEASES = (
    "select claimed.id::text, claimed.worker_id, extract(epoch from claimed.at)::float8,"
    " extract(epoch from gone.at)::float8, extract(epoch from next.at)::float8,"
    " next.what = 'ended' and next.session = claimed.session"
    " from public.history as claimed"
    " left join public.history as gone"
    " on gone.id = claimed.id and gone.fence = claimed.fence and gone.what = 'left'"
    " left join lateral (select at, what, session from public.history as later"
    " where later.id = claimed.id and later.n > claimed.n and later.what in ('claimed', 'ended')"
    " order by later.n limit 1) as next on true"
    " where claimed.what = 'claimed'"
)


class _Lease(NamedTuple):
    """When it began and was over, and when its job was next claimed or ended; by its own worker?"""

    job: str
    worker: int
    began: float
    left: float | None
    next: float | None
    own_end: bool | None


def run(arena: Arena, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` workers killed, each as soon as the one before is gone or a little later.

    `again_seconds`: from the kill until a job that the victim held is claimed by another, or, finished before it,
    settled. `uncounted_without_reason`: successes that no metric counts, beyond those of each victim's last settle,
    which it counts when that is over.
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
        ends = drained(connection, 60)
    leases = [_Lease(*row) for row in connection.fetch_all(_LEASES)]
    held, uncountable = _of_victims(leases, killed)
    waits = sorted(max(0.0, (lease.next or float("inf")) - at) for lease, at in held)
    uncounted = _uncounted(pool, ends.get("succeeded", 0), uncountable)
    spent = connection.fetch_one("select sum(attempts) - count(*) from windlass.done")
    assert spent is not None
    return {
        "seed": seed,
        "killed": rounds,
        "held_when_killed": len(waits),
        "again_seconds_median": round(_at(waits, 0.5), 3),
        "again_seconds_p99": round(_at(waits, 0.99), 3),
        "again_seconds_most": round(_at(waits, 1.0), 3),
        "attempts_beyond_one_a_kill": max(0, int(spent[0]) - rounds),
        "ended_otherwise": len(ids) - ends.get("succeeded", 0),
        "uncounted": uncounted,
        "uncountable": uncountable,
        "uncounted_without_reason": max(0, -uncounted, uncounted - uncountable),
        **history.verdict(connection, ids, arena.effects.all(), most_attempts=100),
    }


def _kill(pool: Pool, connection: Connection, chance: random.Random) -> tuple[int, float]:
    """Somebody who has an identity; which it was, and when in the database's time."""
    victim, identity = chance.choice(sorted(until(pool.registered, 20, "a worker is at work").items()))
    row = connection.fetch_one("select extract(epoch from clock_timestamp())::float8")
    assert row is not None
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in pool.registered(), 20, "it is gone")
    return identity, row[0]


def _of_victims(
    leases: Iterable[_Lease], killed: Iterable[tuple[int, float]]
) -> tuple[list[tuple[_Lease, float]], int]:
    """What they held, and when they were killed; and how many successes of theirs need not have been counted."""
    of_worker: dict[int, list[_Lease]] = defaultdict(list)
    for lease in leases:
        of_worker[lease.worker].append(lease)
    held: list[tuple[_Lease, float]] = []
    uncountable = 0
    for worker, at in killed:
        mine = [(lease, at) for lease in of_worker[worker] if lease.left is None or lease.left > at]
        settled = [lease.left for lease in of_worker[worker] if lease.left is not None and lease.left <= at]
        last = max(settled, default=0.0)
        uncountable += sum(left > last - _ONE_SETTLE_SECONDS for left in settled)
        # In the moment before it was dead.
        uncountable += sum(bool(lease.own_end) for lease, _ in mine)
        held += mine
    return held, uncountable


def _uncounted(pool: Pool, succeeded: int, uncountable: int) -> int:
    """Once those who live have counted what they settled last."""

    def missing() -> int:
        return succeeded - int(pool.metric("worker_jobs_completed_total", outcome="succeeded"))

    try:
        until(lambda: missing() <= uncountable, 5)
    except AssertionError:
        # The figure says so.
        pass
    return missing()


def _at(waits: Sequence[float], share: float) -> float:
    return waits[min(len(waits) - 1, int(len(waits) * share))] if waits else 0.0
