"""What may happen to a worker of the pool beside its jobs."""

from collections.abc import Callable, Iterator

from faults.harness.model.actions import Defect, Move, Rules, Workers
from faults.harness.model.states import CORPSES, MARKED, Worker


def pause(_rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """Its process is stopped."""
    yield from _each(workers, "pause", {Worker.ALIVE: Worker.PAUSED})


def resume(_rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """It goes on within its lease."""
    yield from _each(workers, "resume", {Worker.PAUSED: Worker.ALIVE})


def expire(_rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """It was not beaten in time: it is stopped, or its steward is away."""
    yield from _each(workers, "expire", {Worker.ALIVE: Worker.EXPIRED, Worker.PAUSED: Worker.EXPIRED})


def extend(rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """It is beaten, which the lost cannot be any more."""
    yield from _each(workers, "extend", {Worker.EXPIRED: Worker.ALIVE})
    woken = Worker.ALIVE if Defect.EXTEND_WAKES_THE_LOST in rules.defects else Worker.LOST
    yield from _each(workers, "extend", {Worker.LOST: woken}, accepted=False)


def mark_lost(_rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """Any steward marks all whose heartbeat is too old; nobody beats the dead."""
    becomes = {Worker.EXPIRED: Worker.LOST, Worker.DEAD: Worker.GONE}
    marked = tuple(becomes.get(status, status) for status in workers)
    if marked != workers:
        yield Move("mark lost", workers=marked)


def crash(_rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """Its process is gone."""
    yield from _each(
        workers,
        "crash",
        {
            Worker.ALIVE: Worker.DEAD,
            Worker.PAUSED: Worker.DEAD,
            Worker.EXPIRED: Worker.DEAD,
            Worker.LOST: Worker.GONE,
        },
    )


def lose(_rules: Rules, workers: Workers, _held: int) -> Iterator[Move]:
    """Its own steward marks one that is dead without waiting for its lease to end."""
    yield from _each(workers, "lose", {Worker.DEAD: Worker.GONE})


def register(_rules: Rules, workers: Workers, held: int) -> Iterator[Move]:
    """One that is lost takes a new identity, and one that is gone is replaced, once nothing is left of the old.

    The code does not wait for that; but then the old identity is to the others what a third worker is here.
    """
    for worker, status in enumerate(workers):
        if status in MARKED and not held >> worker & 1:
            yield Move("register", worker, workers=_with(workers, worker, Worker.ALIVE))


# `held`: who holds something or believes to, one bit a worker.
OF_WORKERS: tuple[Callable[[Rules, Workers, int], Iterator[Move]], ...] = (
    pause, resume, expire, extend, mark_lost, crash, lose, register,
)  # fmt: skip


def problems(workers: Workers, held: int, move: Move) -> Iterator[str]:
    """Who is marked lost stays so until nothing is left of what it held."""
    assert move.workers is not None
    for worker, (before, after) in enumerate(zip(workers, move.workers, strict=True)):
        if before in MARKED and after not in MARKED and held >> worker & 1:
            yield f"5: worker {worker}, marked lost, has its leases again"
        if before in CORPSES and after not in CORPSES and held >> worker & 1:
            yield f"1: what worker {worker} left was forgotten"


def _each(workers: Workers, action: str, becomes: dict[Worker, Worker], *, accepted: bool = True) -> Iterator[Move]:
    for worker, status in enumerate(workers):
        if status in becomes:
            yield Move(action, worker, accepted=accepted, workers=_with(workers, worker, becomes[status]))


def _with(workers: Workers, worker: int, status: Worker) -> Workers:
    return (*workers[:worker], status, *workers[worker + 1 :])
