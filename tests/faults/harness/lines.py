"""A worker, or a steward, that dies at every line of its loop: between two system calls too, where only the board, in
memory that outlives them, knows how far they were.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from faults.harness import history
from faults.harness.arena import Arena, some
from faults.harness.cuts import JOBS, of_points, without_one_follow_up
from faults.harness.failpoints import Failpoints, Line
from support.effects import Effect
from support.tables import ended, put, put_one
from support.waiting import until

from sql.connection import Connection

# So many times without a death, and the line is taken for one that is not come to again.
_REPEATS = 4
_PATIENCE_SECONDS = 30
# Enough for a worker to know that they are quick, and to take several at once.
_MATES = 24


class Scene(NamedTuple):
    """`run` gets an arena, how many of the lines (or None: all) and a seed; `never` are the figures that must be 0, and
    `bounds` say that it took place.
    """

    run: Callable[[Arena, int | None, int], dict[str, Any]]
    never: frozenset[str]
    bounds: tuple[str, ...]


def worker(kind: str, arena: Arena, rounds: int | None, seed: int) -> dict[str, Any]:
    """A worker that dies at `rounds` of the lines with which it registers, claims, runs and settles two jobs of `kind`,
    or at each. `attempts_miscounted`: jobs with fewer attempts than starts, or with more than those and the deaths
    meanwhile.
    """
    failpoints = Failpoints("worker", arena.folder / "failpoints")
    pool = arena.pool(worker_processes=1, poll_interval_ms=60_000, **failpoints.environ()).ready()
    connection = arena.connection
    deaths: dict[str, int] = {}
    history.record(connection)

    def one() -> None:
        before = failpoints.deaths()
        job_id = put_one(connection, kind, JOBS[kind], max_attempts=100)
        ended(connection, job_id, _PATIENCE_SECONDS)
        deaths[job_id] = failpoints.deaths() - before

    one()
    one()
    points = _picked(failpoints.ran(), rounds, seed)
    _through(failpoints, points, one, pool.workers)
    attempts, starts = _attempts(connection), _starts(arena.effects.all())
    return {
        "seed": seed,
        **of_points(len(points), failpoints.deaths()),
        "attempts_miscounted": sum(not 0 <= attempts[each] - starts[each] <= deaths[each] for each in deaths),
        **({"not_both_or_neither": without_one_follow_up(connection, deaths)} if kind == "follow" else {}),
        **history.verdict(connection, deaths.keys(), arena.effects.all(), most_attempts=100),
    }


def steward(arena: Arena, rounds: int | None, seed: int) -> dict[str, Any]:
    """A steward that dies at `rounds` of the lines of its passes, or at each, while its worker dies, with others of the
    same batch in its hands.

    `attempts_miscounted`: jobs with more attempts than starts, or fewer. `given_back`: how many of those others.
    """
    failpoints = Failpoints("steward", arena.folder / "failpoints")
    pool = arena.pool(worker_processes=1, **failpoints.environ()).ready()
    connection, ids = arena.connection, []
    history.record(connection)

    def one() -> None:
        quick: list[dict[str, Any]] = [{}] * _MATES
        ids.extend(put(connection, "die", *quick, {"how": "kill -9", "times": 1}, *quick, max_attempts=100))
        for job_id in ids[-2 * _MATES - 1 :]:
            ended(connection, job_id, _PATIENCE_SECONDS)

    one()
    points = _picked(failpoints.ran(), rounds, seed)
    _through(failpoints, points, one, lambda: [pool.steward()])
    # A handler that does not die notes that it began, and that it ran.
    effects = [effect for effect in arena.effects.all() if effect.what == "began"]
    attempts, starts = _attempts(connection), _starts(effects)
    return {
        "seed": seed,
        **of_points(len(points), failpoints.deaths()),
        "given_back": int(pool.metric("worker_jobs_completed_total", kind="die", outcome="released")),
        "attempts_miscounted": sum(attempts[each] != starts[each] for each in ids),
        **history.verdict(connection, ids, effects, most_attempts=100),
    }


_NEVER = frozenset({*history.NEVER, "attempts_miscounted"})
# Where a line is not come to again, the next life took another turn; most are.
_DEATHS = "percent_killed >= 85"
SCENES = {
    "worker, note": Scene(partial(worker, "note"), _NEVER, (_DEATHS,)),
    "worker, throw": Scene(partial(worker, "throw"), _NEVER, (_DEATHS,)),
    "worker, follow": Scene(partial(worker, "follow"), _NEVER | {"not_both_or_neither"}, (_DEATHS,)),
    "steward, workers that die": Scene(steward, _NEVER, (_DEATHS, "given_back > 0")),
}


def _picked(ran: list[Line], rounds: int | None, seed: int) -> list[Line]:
    """In no order: neighbours would all kill for one job, until it had no attempt left."""
    chance = random.Random(seed)
    points = some(ran, rounds, chance)
    chance.shuffle(points)
    return points


def _through(
    failpoints: Failpoints, points: list[Line], scene: Callable[[], None], victims: Callable[[], Iterable[int]]
) -> None:
    """The scene again and again, until each point was taken and its process is dead."""
    failpoints.plant(points)
    _kill(victims)
    until(failpoints.taken, 10, "the first point is taken")
    while (taken := failpoints.taken()) <= len(points):
        try:
            for _ in range(_REPEATS):
                scene()
                if failpoints.taken() > taken:
                    break
            else:
                _kill(victims)
                until(lambda taken=taken: failpoints.taken() > taken, 10, "another takes the next point")
        except AssertionError as error:
            raise AssertionError(f"after deaths at {points[taken - 1 : failpoints.taken()]}") from error


def _kill(victims: Callable[[], Iterable[int]]) -> None:
    for pid in victims():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _attempts(connection: Connection) -> dict[str, int]:
    return dict(connection.fetch_all("select id::text, attempts from windlass.done"))


def _starts(effects: Iterable[Effect]) -> Counter[str]:
    return Counter(effect.job for effect in effects if effect.what in ("began", "ran"))
