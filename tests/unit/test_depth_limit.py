"""MAX_QUEUE_DEPTH, by a clock and a table of the test's own: what is handed out, and when it is room again."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import pytest

from app.depth_limit import DepthLimit
from sql.connection import Connection
from sql.errors import Unavailable

COUNT_SECONDS = 0.001
# So long after a count the ration allows each of up to four processes another.
LATER = 0.1


class World:
    """A queue that holds `waiting`, and a clock that goes on while it is counted.

    `meanwhile` happens during the next count, which sees nothing of it.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting = self.counts = 0
        self.meanwhile: Callable[[], None] | None = None
        # One that nobody refers to any more would be over.
        self._begun: list[Enqueue] = []

    def fetch_one(self, _statement: object, *, queue: str, limit: int) -> tuple[int]:
        self.counts += 1
        seen = min(self.waiting, limit) if queue == "q" else 0
        self.now += COUNT_SECONDS
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        return (seen,)

    def limit(self, limit: int, processes: int = 1) -> DepthLimit:
        return DepthLimit(limit, processes, clock=lambda: self.now)

    def begin(self, limit: DepthLimit, jobs: int, queue: str = "q") -> "Enqueue":
        self._begun.append(Enqueue(self, limit, jobs, queue))
        return self._begun[-1]

    def enqueue(self, limit: DepthLimit, jobs: int = 1) -> int:
        """One that is begun, stored and over; how many it was."""
        begun = self.begin(limit, jobs)
        begun.store()
        return begun.admitted

    @property
    def conn(self) -> Connection:
        return cast(Connection, self)


class Enqueue:
    """One that is under way, until `store`."""

    def __init__(self, world: World, limit: DepthLimit, jobs: int, queue: str) -> None:
        self._world = world
        self._open = ExitStack()
        self._admission = self._open.enter_context(limit.admit(world.conn, queue, jobs))
        self.admitted = self._admission.jobs

    def store(self, jobs: int | None = None) -> None:
        """All that was admitted, or so many of them."""
        self._admission.stored = self.admitted if jobs is None else jobs
        self._world.waiting += self._admission.stored
        self._open.close()


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_admitted_and_not_yet_stored_is_not_handed_out_again(world: World) -> None:
    limit = world.limit(100)
    admitted = []
    for _ in range(3):
        admitted.append(world.begin(limit, 100).admitted)
        world.now += 0.03
    assert admitted == [100, 0, 0]
    assert world.counts == 3


def test_what_is_stored_while_a_count_runs_is_not_handed_out_again(world: World) -> None:
    limit = world.limit(100)
    first = world.begin(limit, 60)
    world.meanwhile = first.store
    world.now += 2.0
    assert world.begin(limit, 100).admitted == 40


def test_what_is_admitted_while_a_count_runs_is_not_handed_out_again(world: World) -> None:
    limit = world.limit(100)
    world.enqueue(limit, 10)
    others: list[Enqueue] = []
    world.meanwhile = lambda: others.append(world.begin(limit, 50))
    world.now += 2.0
    assert world.begin(limit, 100).admitted == 40
    assert [other.admitted for other in others] == [50]


def test_what_is_stored_is_counted_once(world: World) -> None:
    limit = world.limit(100)
    assert world.enqueue(limit, 60) == 60
    for _ in range(40):
        world.now += 2.0
        assert world.enqueue(limit) == 1
    world.now += 2.0
    assert world.enqueue(limit) == 0
    world.waiting -= 7
    world.now += LATER
    assert world.enqueue(limit, 100) == 7


def test_what_is_admitted_and_not_stored_is_room_at_once(world: World) -> None:
    limit = world.limit(100)
    world.begin(limit, 100).store(30)
    assert world.begin(limit, 100).admitted == 70
    assert world.counts == 1


def test_what_is_given_back_while_a_count_runs_is_room_at_once(world: World) -> None:
    limit = world.limit(100)
    first = world.begin(limit, 60)
    world.meanwhile = lambda: first.store(0)
    world.now += 2.0
    assert world.begin(limit, 100).admitted == 100


def test_room_given_back_to_a_queue_that_others_filled_is_nobodys(world: World) -> None:
    limit = world.limit(100)
    first = world.begin(limit, 60)
    world.waiting = 70
    world.now += 2.0
    assert world.begin(limit, 100).admitted == 0
    first.store(25)
    assert world.waiting == 95
    assert world.enqueue(limit, 100) <= 5


def test_what_fails_is_room_again_with_the_next_count(world: World) -> None:
    limit = world.limit(100)
    with pytest.raises(Unavailable), limit.admit(world.conn, "q", 100):
        raise Unavailable("its answer was lost")
    # It may have been stored all the same.
    assert world.begin(limit, 1).admitted == 0
    world.now += LATER
    assert world.begin(limit, 100).admitted == 100


def test_a_count_that_fails_keeps_no_room(world: World) -> None:
    limit = world.limit(100)
    world.enqueue(limit, 40)

    def fail() -> None:
        raise Unavailable("the database is gone")

    world.meanwhile = fail
    world.now += LATER
    with pytest.raises(Unavailable):
        world.begin(limit, 100)
    assert world.begin(limit, 100).admitted == 60


def test_of_less_room_than_there_are_processes_each_may_fill_one(world: World) -> None:
    limits = [world.limit(2, processes=4) for _ in range(4)]
    assert [world.begin(each, 2).admitted for each in limits] == [1, 1, 1, 1]


def test_a_full_queue_has_room_for_no_process(world: World) -> None:
    world.waiting = 5
    limits = [world.limit(5, processes=4) for _ in range(4)]
    assert [world.begin(each, 2).admitted for each in limits] == [0, 0, 0, 0]


def test_the_last_room_is_filled_whatever_there_are_of_processes(world: World) -> None:
    limit = world.limit(10, processes=4)
    for _ in range(100):
        world.enqueue(limit)
        world.now += LATER
    assert world.waiting == 10


def test_a_full_queue_is_counted_no_more_than_its_ration(world: World) -> None:
    world.waiting = 5
    limit = world.limit(5, processes=2)
    for _ in range(1000):
        assert world.begin(limit, 1).admitted == 0
        world.now += COUNT_SECONDS / 10
    # A fortieth of one process's time, so a twentieth of that of both.
    assert world.counts == pytest.approx(1000 * COUNT_SECONDS / 10 / (COUNT_SECONDS * 39), abs=1)


def test_the_memory_for_queues_has_a_bound_and_forgets_nothing_that_is_being_stored(world: World) -> None:
    limit = world.limit(5)
    held = world.begin(limit, 5)
    for number in range(1100):
        world.begin(limit, 1, queue=f"q{number}").store(0)
    assert len(limit._shares) == len(limit._in_use) - 1 == 1000
    world.now += LATER
    assert world.begin(limit, 5).admitted == 0
    held.store()
    world.now += LATER
    assert world.begin(limit, 5).admitted == 0
