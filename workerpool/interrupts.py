"""The two things that may interrupt a handler: its deadline, and being told to leave now.

Both are exceptions raised by a signal's handler in whatever line runs, so they are armed only around the job's handler:
nowhere else could they break a claim or a settle in the middle.
"""

import signal
import time

# Under `signal.getsignal`, which makes an enum of the answer: 0.1 µs a job instead of 2.5.
from _signal import getsignal  # type: ignore[import-not-found]
from types import FrameType


class Interrupt(BaseException):
    """Not an Exception, so that a handler's own `except Exception` does not swallow it."""


class DeadlineReached(Interrupt):
    """The job's time is over."""


class ToldToLeave(Interrupt):
    """QUIT came: this process releases what it holds and leaves."""


class Interrupts:
    """One per worker process, in its main thread."""

    def __init__(self) -> None:
        self.leaving = False
        self._armed = False
        self._deadline = 0.0
        self._alarm = self._on_alarm

    def install(self) -> None:
        """Takes over SIGALRM and SIGQUIT."""
        signal.signal(signal.SIGALRM, self._alarm)
        signal.signal(signal.SIGQUIT, self._on_quit)

    def arm(self, deadline: float, now: float) -> None:
        """From now on DeadlineReached is raised at `deadline`, a reading of `time.monotonic()`, and ToldToLeave when
        QUIT comes (or came before). Call it inside a `try`, and `disarm` in its `finally`.
        """
        self._deadline = deadline
        # A handler may have set one of its own; without ours the next job would have no deadline.
        if getsignal(signal.SIGALRM) is not self._alarm:
            signal.signal(signal.SIGALRM, self._alarm)
        self._armed = True
        # Set at each job, since a handler may have used it and put our signal handler back; and not cleared: it does
        # nothing when no job runs.
        signal.setitimer(signal.ITIMER_REAL, max(deadline - now, 0.001))
        if self.leaving:
            self._raise(ToldToLeave)

    def disarm(self) -> None:
        """None is raised any more. One may still be on this very line: the caller takes it for the handler's."""
        self._armed = False

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        early = self._deadline - time.monotonic()
        if early <= 0:
            self._raise(DeadlineReached)
        elif self._armed:
            # It was the timer of the job before.
            signal.setitimer(signal.ITIMER_REAL, max(early, 0.001))

    def _on_quit(self, _number: int, _frame: FrameType | None) -> None:
        self.leaving = True
        self._raise(ToldToLeave)

    def _raise(self, interrupt: type[Interrupt]) -> None:
        if self._armed:
            self._armed = False
            raise interrupt
