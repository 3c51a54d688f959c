"""The two things that may interrupt a handler: its deadline, and being told to leave now.

Both are exceptions raised by a signal's handler in whatever line runs, so they are armed only around the job's handler:
nowhere else could they break a claim or a settle in the middle.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
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

    def install(self) -> None:
        """Takes over SIGALRM and SIGQUIT."""
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.signal(signal.SIGQUIT, self._on_quit)

    @contextmanager
    def armed(self, seconds: float) -> Iterator[None]:
        """Inside, DeadlineReached is raised after `seconds` and ToldToLeave when QUIT comes (or came before)."""
        try:
            # A handler may have set one of its own; without ours the next job would have no deadline.
            signal.signal(signal.SIGALRM, self._on_alarm)
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
            if self.leaving:
                raise ToldToLeave
            yield
        finally:
            # An interrupt may still arrive on this very line; it is raised, and the caller takes it for the handler's.
            # Either disarms, so none comes after that.
            self._armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        self._raise(DeadlineReached)

    def _on_quit(self, _number: int, _frame: FrameType | None) -> None:
        self.leaving = True
        self._raise(ToldToLeave)

    def _raise(self, interrupt: type[Interrupt]) -> None:
        if self._armed:
            self._armed = False
            raise interrupt
