"""A handler's deadline holds whatever the handlers before it did with the timer."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from workerpool.interrupts import DeadlineReached, Interrupts

SOON = 0.05


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    former = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGQUIT)
    made = Interrupts()
    made.install()
    yield made
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former[0])
    signal.signal(signal.SIGQUIT, former[1])


def run(interrupts: Interrupts, seconds: float, handler: Callable[[], object], now: float = 0.0) -> None:
    """As a job of so many seconds is run; `now` where it is to be taken for another time."""
    try:
        interrupts.arm(time.monotonic() + seconds, now or time.monotonic())
        handler()
    finally:
        interrupts.disarm()


def outlast(seconds: float = 20 * SOON) -> None:
    """Works for far longer than it may."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def nothing() -> None:
    pass


def test_the_deadline_interrupts_a_handler(interrupts: Interrupts) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineReached):
        run(interrupts, SOON, outlast)
    assert SOON <= time.monotonic() - began < 10 * SOON


def test_a_deadline_earlier_than_that_of_the_job_before_holds(interrupts: Interrupts) -> None:
    run(interrupts, 60, nothing)
    with pytest.raises(DeadlineReached):
        run(interrupts, SOON, outlast)


def test_a_deadline_holds_though_the_timer_of_the_quick_job_before_rings_first(interrupts: Interrupts) -> None:
    run(interrupts, SOON, nothing)
    began = time.monotonic()
    with pytest.raises(DeadlineReached):
        run(interrupts, 2 * SOON, outlast)
    assert time.monotonic() - began >= 2 * SOON


def test_a_deadline_holds_though_the_timer_rang_between_two_quick_jobs(interrupts: Interrupts) -> None:
    now = time.monotonic()
    interrupts.arm(now + 0.001, now)
    interrupts.disarm()
    outlast(SOON / 2)
    # As if the second had begun at once, and the timer rung just then.
    with pytest.raises(DeadlineReached):
        run(interrupts, SOON, outlast, now=now + 0.00001)


def test_quick_jobs_one_after_another_share_a_timer(interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch) -> None:
    rings: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda _which, seconds: rings.append(seconds))
    for n in range(100):
        now = 1000 + n * 0.00005
        interrupts.arm(now + 60, now)
        interrupts.disarm()
    assert rings == [60.0]


def test_a_handler_that_used_the_timer_itself_takes_no_deadline_away(interrupts: Interrupts) -> None:
    def uses_the_timer() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0)

    run(interrupts, SOON, uses_the_timer)
    with pytest.raises(DeadlineReached):
        run(interrupts, SOON, outlast)


def test_a_handler_that_left_its_own_signal_handler_takes_no_deadline_away(interrupts: Interrupts) -> None:
    def leaves_its_own() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0)

    run(interrupts, SOON, leaves_its_own)
    with pytest.raises(DeadlineReached):
        run(interrupts, SOON, outlast)
