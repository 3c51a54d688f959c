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


def run(interrupts: Interrupts, seconds: float, handler: Callable[[], object]) -> None:
    """As a job of so many seconds is run."""
    now = time.monotonic()
    try:
        interrupts.arm(now + seconds, now)
        handler()
    finally:
        interrupts.disarm()


def outlast() -> None:
    """Works for far longer than it may."""
    until = time.monotonic() + 20 * SOON
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


def test_a_handler_that_used_the_timer_itself_takes_no_deadline_away(interrupts: Interrupts) -> None:
    def uses_the_timer() -> None:
        ours = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 5)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, ours)

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
