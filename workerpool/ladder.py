"""One child's way out, pure: the clock is an argument."""

import signal

# After QUIT a worker releases what it can; a database that answers at all answers within this.
QUIT_SECONDS = 2.0


class Ladder:
    """TERM at once, QUIT after the grace, KILL two seconds later; each once."""

    def __init__(self, now: float, grace: float) -> None:
        self._steps = [
            (now, signal.SIGTERM),
            (now + grace, signal.SIGQUIT),
            (now + grace + QUIT_SECONDS, signal.SIGKILL),
        ]

    def hurry(self, now: float) -> None:
        """Go on to QUIT now, if that has not come yet."""
        if len(self._steps) > 1:
            self._steps = [(now, signal.SIGQUIT), (now + QUIT_SECONDS, signal.SIGKILL)]

    def due(self, now: float) -> list[signal.Signals]:
        """The signals whose time has come since the last call."""
        due = [number for at, number in self._steps if at <= now]
        self._steps = self._steps[len(due) :]
        return due
