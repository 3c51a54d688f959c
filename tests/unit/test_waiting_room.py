"""Who waits for work, how long, and what ends it. The listener has no database here: hints are never heard."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.waiting import until
from support.work import at_once

from app.services.leases import Found
from app.waiting import WaitingRoom
from sql.errors import Unavailable
from sql.rows import Leased

NOTHING = Found([], None, 0, 0)
JOB = Leased("id", "q", "1", 1, 5, "", "", 0, "", "", "external", None, 1, 1000, 60)
SOMETHING = NOTHING._replace(jobs=[(JOB, "token")])


def unreachable() -> object:
    raise Unavailable("not in this test")


@pytest.fixture
def make_room() -> Iterator[Callable[[int], WaitingRoom]]:
    made: list[WaitingRoom] = []

    def make(places: int) -> WaitingRoom:
        made.append(WaitingRoom(unreachable, places))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for room in made:
        room.end()


class Looks:
    """Answers one after the other, the last for ever; notes when each look was made."""

    def __init__(self, *answers: Found, seconds: float = 0.0) -> None:
        self._answers, self._seconds = list(answers), seconds
        self.times: list[float] = []

    def __call__(self) -> Found:
        self.times.append(time.monotonic())
        threading.Event().wait(self._seconds)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def here() -> bool:
    return True


def timed(action: Callable[[], Found]) -> tuple[Found, float]:
    started = time.monotonic()
    return action(), time.monotonic() - started


def test_what_is_there_is_taken_at_once(make_room: Callable[[int], WaitingRoom]) -> None:
    look = Looks(SOMETHING)
    assert make_room(1).poll(look, 20, here) == SOMETHING
    assert len(look.times) == 1


def test_who_does_not_wait_looks_once(make_room: Callable[[int], WaitingRoom]) -> None:
    look = Looks(NOTHING)
    assert make_room(1).poll(look, 0, here) == NOTHING
    assert len(look.times) == 1


def test_the_wait_is_as_long_as_asked_for_and_looks_twice_a_second(make_room: Callable[[int], WaitingRoom]) -> None:
    look = Looks(NOTHING)
    taken, seconds = timed(lambda: make_room(1).poll(look, 1.2, here))
    assert taken == NOTHING
    assert 1.2 <= seconds < 1.7
    pauses = [after - before for before, after in zip(look.times, look.times[1:], strict=False)]
    assert 3 <= len(look.times) <= 7
    assert max(pauses) < 0.75


def test_a_job_that_becomes_due_is_looked_for_then(make_room: Callable[[int], WaitingRoom]) -> None:
    look = Looks(NOTHING._replace(due_in=0.1), SOMETHING)
    taken, seconds = timed(lambda: make_room(1).poll(look, 5, here))
    assert taken == SOMETHING
    assert 0.1 <= seconds < 0.22


def test_nobody_looks_more_than_a_tenth_of_the_time(make_room: Callable[[int], WaitingRoom]) -> None:
    look = Looks(NOTHING._replace(due_in=0.000001), seconds=0.04)
    make_room(1).poll(look, 1.5, here)
    pauses = [after - before for before, after in zip(look.times, look.times[1:], strict=False)]
    assert 2 <= len(pauses) <= 4
    assert min(pauses) >= 0.4
    quick = Looks(NOTHING._replace(due_in=0.000001))
    make_room(1).poll(quick, 0.5, here)
    assert 5 <= len(quick.times) <= 25


def test_however_slow_a_look_is_there_is_another_soon(make_room: Callable[[int], WaitingRoom]) -> None:
    look = Looks(NOTHING, SOMETHING, seconds=0.3)
    found, seconds = timed(lambda: make_room(1).poll(look, 20, here))
    assert found == SOMETHING
    assert 2.3 <= seconds < 2.9


def test_when_all_places_are_taken_the_answer_comes_at_once(make_room: Callable[[int], WaitingRoom]) -> None:
    room = make_room(2)
    waits = [Poll(room) for _ in range(2)]
    until(lambda: all(wait.looked for wait in waits) and room.waiting == 2)
    taken, seconds = timed(lambda: room.poll(Looks(NOTHING), 20, here))
    assert taken == NOTHING
    assert seconds < 0.2
    room.end()
    for wait in waits:
        assert wait.answer() == NOTHING
    assert room.waiting == 0


def test_a_process_of_one_thread_lets_nobody_wait(make_room: Callable[[int], WaitingRoom]) -> None:
    assert timed(lambda: make_room(0).poll(Looks(NOTHING), 20, here))[1] < 0.2


def test_the_end_ends_all_waits_and_later_ones_do_not_begin(make_room: Callable[[int], WaitingRoom]) -> None:
    room = make_room(4)
    waits = [Poll(room) for _ in range(4)]
    until(lambda: room.waiting == 4)
    started = time.monotonic()
    room.end()
    for wait in waits:
        assert wait.answer() == NOTHING
    assert timed(lambda: room.poll(Looks(NOTHING), 20, here))[1] < 0.2
    assert time.monotonic() - started < 1


def test_whoever_has_gone_is_looked_for_no_more(make_room: Callable[[int], WaitingRoom]) -> None:
    look, gone = Looks(NOTHING), threading.Event()
    room = make_room(1)
    gone.set()
    taken, seconds = timed(lambda: room.poll(look, 20, lambda: not gone.is_set()))
    assert (taken, len(look.times)) == (NOTHING, 1)
    assert seconds < 1
    assert room.waiting == 0


def test_a_look_that_fails_frees_its_place(make_room: Callable[[int], WaitingRoom]) -> None:
    room = make_room(1)

    def look() -> Found:
        if room.waiting:
            raise Unavailable("went away")
        return NOTHING

    for _ in range(3):
        with pytest.raises(Unavailable):
            room.poll(look, 20, here)
    assert room.waiting == 0


def test_any_number_of_waits_ends_with_no_place_taken(make_room: Callable[[int], WaitingRoom]) -> None:
    room = make_room(8)
    at_once(*[lambda: room.poll(Looks(NOTHING), 0.3, here)] * 16)
    assert room.waiting == 0


class Poll:
    """A wait in a thread of its own."""

    def __init__(self, room: WaitingRoom) -> None:
        self._look = Looks(NOTHING)
        self._answers: list[Found] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(room.poll(self._look, 20, here)))
        self._thread.start()

    @property
    def looked(self) -> bool:
        return bool(self._look.times)

    def answer(self) -> Found:
        self._thread.join(5)
        return self._answers[0]
