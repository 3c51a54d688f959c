"""The two things that may interrupt a handler: its deadline, and being told to leave now.

Both are exceptions raised by a signal's handler in whatever line runs, so they are armed only around the job's handler:
nowhere else could they break a claim or a settle in the middle.
"""

import signal
import time

# Under `signal.getsignal`, which makes an enum of the answer: 0.1 µs a job instead of 2.5.
from _signal import getsignal  # type: ignore[import-not-found]
from types import FrameType, TracebackType


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

    def armed(self, deadline: float) -> "Interrupts":
        """Inside `with`, DeadlineReached is raised at `deadline`, a reading of `time.monotonic()`, and ToldToLeave when
        QUIT comes (or came before).
        """
        self._deadline = deadline
        return self

    def __enter__(self) -> None:
        # A handler may have set one of its own; without ours the next job would have no deadline.
        if getsignal(signal.SIGALRM) is not self._alarm:
            signal.signal(signal.SIGALRM, self._alarm)
        self._armed = True
        self._set_timer()
        if self.leaving:
            self._raise(ToldToLeave)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interrupt may still arrive on this very line; it is raised, and the caller takes it for the handler's.
        # Either disarms, so none comes after that. The timer goes on: the next job sets it anew, else it does nothing.
        self._armed = False

    def _set_timer(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(self._deadline - time.monotonic(), 0.001))

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if time.monotonic() >= self._deadline:
            self._raise(DeadlineReached)
        elif self._armed:
            # It was the timer of the job before.
            self._set_timer()

    def _on_quit(self, _number: int, _frame: FrameType | None) -> None:
        self.leaving = True
        self._raise(ToldToLeave)

    def _raise(self, interrupt: type[Interrupt]) -> None:
        if self._armed:
            self._armed = False
            raise interrupt
