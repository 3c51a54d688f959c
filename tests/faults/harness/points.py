"""An operation's connection cut at every message of it: how many points there are, and at how many all holds.

An operation is a generator function of a stage. Until its first `yield` it prepares; from there to the second it acts
as the product does, with whatever repetition the product has, and that is what the proxy counts and cuts; after the
second it asserts what must hold. A point is one message of one side, before or after it was passed on.

    for row in points(databases): ...   # {"operation": "ack", "points": 20, "held": 20, "failed": []}

To replay what failed: `hold(stage, OPERATIONS["ack"], Point(SERVER, 3, True, False))`.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from faults.harness.proxy import Cut, Watch
from faults.harness.stage import Stage, counted, stage
from faults.harness.wire import CLIENT, SERVER
from support.database import Databases
from support.waiting import until

from sql import checks

Operation = Callable[[Stage], Iterator[None]]
OneIn = Mapping[str, int]

ALL: OneIn = {CLIENT: 1, SERVER: 1}

_QUIET_SECONDS = 0.02


class Point(NamedTuple):
    """Where the connection is cut, and whether its ends see an RST instead of a FIN; see `proxy.Cut`."""

    sender: str
    message: int
    after: bool
    reset: bool


def dry_run(stage: Stage, operation: Operation) -> Watch:
    """What the operation says and is told when nothing is cut."""
    return _play(stage, operation, stage.proxy.watch)


def points_of(seen: Collection[tuple[str, str]], *, thorough: bool = False, one_in: OneIn = ALL) -> list[Point]:
    """Every message of each side, or one in so many, before and after; with FIN and RST in turn, or if `thorough` with
    each.
    """
    found = []
    for sender, count in Counter(sender for sender, _ in seen).items():
        for message in range(1, count + 1, one_in[sender]):
            for after in (False, True):
                ends = (False, True) if thorough else ((message + after) % 2 == 1,)
                found += [Point(sender, message, after, reset) for reset in ends]
    return found


def hold(stage: Stage, operation: Operation, point: Point) -> None:
    """Plays the operation with one cut. Raises whatever shows that something did not hold."""
    _play(stage, operation, lambda **terms: stage.proxy.watch(Cut(*point), **terms))


def measure(
    stage: Stage, name: str, operation: Operation, *, thorough: bool = False, one_in: OneIn = ALL
) -> dict[str, Any]:
    """How many points the operation has and at how many of them it held; `failed` are the others, with the error."""
    failed = []
    every = points_of(dry_run(stage, operation).seen, thorough=thorough, one_in=one_in)
    for point in every:
        try:
            hold(stage, operation, point)
        except Exception as error:
            failed.append((point, repr(error)))
    return {"operation": name, "points": len(every), "held": len(every) - len(failed), "failed": failed}


def points(
    databases: Databases, names: Collection[str] | None = None, *, thorough: bool = False
) -> Iterator[dict[str, Any]]:
    """`measure` of each operation, or of those `names`, one after the other."""
    from faults.harness.operations import OPERATIONS

    with stage(databases) as here:
        for name, operation in OPERATIONS.items():
            if names is None or name in names:
                yield measure(here, name, operation, thorough=thorough)


def _play(stage: Stage, operation: Operation, begin: Callable[..., Watch]) -> Watch:
    stage.reset()
    steps = operation(stage)
    next(steps)
    watch = begin(concerns=counted)
    try:
        next(steps)
        # A client that closes its connection does not wait until that has arrived.
        until(lambda: _is_over(watch), 2, "the operation comes to that message")
    finally:
        stage.proxy.watch()
    stage.wait_for_orphans(watch.cut)
    for _ in steps:
        raise AssertionError("an operation yields twice")
    problems = checks.states(stage.admin)
    assert problems == [], problems
    return watch


def _is_over(watch: Watch) -> bool:
    return watch.fired.is_set() if watch.rules else time.monotonic() - watch.noted_at > _QUIET_SECONDS
