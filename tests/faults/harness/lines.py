"""A worker, or a steward, that dies at every line of its code: between two system calls too, where only the board, in
memory that outlives them, knows how far they were.
"""

import os
import random
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, some
from faults.harness.cuts import JOBS
from faults.harness.failpoints import Failpoints, Line
from support.tables import ended, follow_ups, put_one
from support.waiting import until

from sql.connection import Connection

NEVER = frozenset({*history.NEVER, "attempts_miscounted"})
# A line of a steward is run again with every pass: where it is first come to, and once later.
_PASSES = 2
# So many jobs without a death, and the line is taken for one that is not come to again.
_SCENES = 4
_PATIENCE_SECONDS = 30


def worker(kind: str, arena: Arena, rounds: int | None, seed: int) -> dict[str, Any]:
    """A worker that dies at `rounds` of the lines run while it is born, claims, runs and settles two jobs of `kind`, or
    at each. `attempts_miscounted`: those beyond one a death.
    """
    failpoints = Failpoints("worker", arena.folder / "failpoints")
    pool = arena.pool(worker_processes=1, poll_interval_ms=60_000, **failpoints.environ()).ready()
    connection, ids = arena.connection, []
    history.record(connection)

    def one() -> None:
        ids.append(put_one(connection, kind, JOBS[kind], max_attempts=100))
        ended(connection, ids[-1], _PATIENCE_SECONDS)

    one()
    one()
    points = _picked(failpoints.ran(), rounds, seed)
    killed = _through(failpoints, points, one, pool.workers)
    attempts = sum(_attempts(connection).values()) - len(ids) * (1 + JOBS[kind].get("times", 0))
    return {
        "seed": seed,
        **_counts(points, killed),
        "attempts_miscounted": max(0, attempts - len(points)),
        "not_both_or_neither": _alone(connection, ids) if kind == "follow" else 0,
        **history.verdict(connection, ids, arena.effects.all(), most_attempts=100),
    }


def steward(arena: Arena, rounds: int | None, seed: int) -> dict[str, Any]:
    """A steward that dies at `rounds` of its lines, or at each, while workers die, which it is to clear up after.

    Jobs are charged for the one death that they brought about, and nothing else.
    """
    failpoints = Failpoints("steward", arena.folder / "failpoints")
    pool = arena.pool(worker_processes=2, **failpoints.environ()).ready()
    connection, deadly, harmless = arena.connection, [], []
    history.record(connection)

    def one() -> None:
        deadly.append(put_one(connection, "die", {"how": "kill -9", "times": 1}, max_attempts=100))
        harmless.append(put_one(connection, "note", max_attempts=100))
        for job_id in (deadly[-1], harmless[-1]):
            ended(connection, job_id, _PATIENCE_SECONDS)

    one()
    one()
    points = _picked([line for line in failpoints.ran() if line.number <= _PASSES], rounds, seed)
    killed = _through(failpoints, points, one, lambda: [pool.steward()])
    # A handler that dies notes its start twice when it does not.
    effects = [each for each in arena.effects.all() if each.what == "began" or each.job not in deadly]
    attempts = _attempts(connection)
    expected = {**dict.fromkeys(deadly, 2), **dict.fromkeys(harmless, 1)}
    return {
        "seed": seed,
        **_counts(points, killed),
        "attempts_miscounted": sum(attempts.get(job_id) != expected[job_id] for job_id in expected),
        **history.verdict(connection, [*deadly, *harmless], effects, most_attempts=100),
    }


def _picked(ran: list[Line], rounds: int | None, seed: int) -> list[Line]:
    """In no order: neighbours would all kill for one job, until it had no attempt left."""
    chance = random.Random(seed)
    points = some(ran, rounds, chance)
    chance.shuffle(points)
    return points


def _through(
    failpoints: Failpoints, points: list[Line], scene: Callable[[], None], victims: Callable[[], Iterable[int]]
) -> int:
    """The scene again and again until each point was taken; how many of them killed somebody."""
    failpoints.plant(points)
    _kill(victims)
    until(failpoints.taken, 10, "the first point is taken")
    missed = 0
    while (taken := failpoints.taken()) <= len(points):
        for _ in range(_SCENES):
            scene()
            if failpoints.taken() > taken:
                break
        else:
            missed += 1
            _kill(victims)
            until(lambda taken=taken: failpoints.taken() > taken, 10)
    return len(points) - missed


def _kill(victims: Callable[[], Iterable[int]]) -> None:
    for pid in victims():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _counts(points: list[Line], killed: int) -> dict[str, Any]:
    return {"points": len(points), "killed": killed, "percent_killed": round(100 * killed / len(points), 1)}


def _attempts(connection: Connection) -> dict[str, int]:
    return dict(connection.fetch_all("select id::text, attempts from windlass.done"))


def _alone(connection: Connection, ids: Iterable[str]) -> int:
    return sum(len(follow_ups(connection, job_id)) != 1 for job_id in ids)


SCENES: dict[str, Callable[[Arena, int | None, int], dict[str, Any]]] = {
    **{f"worker, {kind}": partial(worker, kind) for kind in JOBS},
    "steward, workers that die": steward,
}
