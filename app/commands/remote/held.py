"""The jobs a worker over HTTP has in hand, and what others want of each while it runs."""

import os
import threading
import time
from collections.abc import Callable
from enum import Enum

from app.commands.remote.calls import Lease


class Ending(Enum):
    """Why the work on a job is to end before it ends itself; the value: seconds between TERM and KILL."""

    CANCELLED = 2.0
    """Somebody asked for it."""
    DRAINED = 1.0
    """The worker must leave."""
    LOST = 0.0
    """The lease is gone: from now on somebody else may be at it."""


class Held:
    """One job in hand. `asked` becomes readable when `ending` is set.

    `unheard`: the last heartbeat found no service that could have answered it.
    """

    def __init__(self, lease: Lease, first_beat: float) -> None:
        """`first_beat`: when the lease is to be extended first, by time.monotonic()."""
        self.lease = lease
        self.next_beat = first_beat
        self.missed_beats = 0
        self.unheard = False
        self.settling = False
        self.ending: Ending | None = None
        self.asked = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._closed = False

    def end(self, ending: Ending) -> bool:
        """Asks the work to end; False when it has, or was asked to before. A lost lease is the last word."""
        with self._lock:
            if self._closed or self.settling or self.ending in (ending, Ending.LOST):
                return False
            if self.ending is not None and ending is not Ending.LOST:
                return False
            self.ending = ending
            os.eventfd_write(self.asked, 1)
            return True

    def settle(self) -> Ending | None:
        """The work has ended: from now on nothing can be asked of it. Answers what was."""
        with self._lock:
            self.settling = True
            return self.ending

    def close(self) -> None:
        """Nobody reads `asked` any more."""
        with self._lock:
            self._closed = True
            os.close(self.asked)


class InHand:
    """All jobs in hand, at most `room` of them."""

    def __init__(self, room: int) -> None:
        self._room = room
        # Not by the job's id: we may get a job again before we know that we had lost it.
        self._held: set[Held] = set()
        self._changed = threading.Condition()

    def add(self, held: Held) -> None:
        """It is beaten for from now on."""
        with self._changed:
            self._held.add(held)
            self._changed.notify_all()

    def remove(self, held: Held) -> None:
        """It is settled, lost or given up."""
        with self._changed:
            self._held.discard(held)
            self._changed.notify_all()
        held.close()

    def all(self) -> list[Held]:
        """Those in hand now."""
        with self._changed:
            return list(self._held)

    def wake(self) -> None:
        """Whoever waits looks at its condition again."""
        with self._changed:
            self._changed.notify_all()

    def free(self, unless: Callable[[], bool]) -> int:
        """How many more there is room for; waits for the first, and answers 0 once `unless` is true.

        While a heartbeat is overdue or unheard there is no room: after an outage our own lease would be the one that
        takes our expired jobs back, before we have said that we are still at them.
        """
        with self._changed:
            self._changed.wait_for(lambda: unless() or (len(self._held) < self._room and not self._is_late()))
            return 0 if unless() else self._room - len(self._held)

    def _is_late(self) -> bool:
        now = time.monotonic()
        return any(held.unheard or held.next_beat <= now for held in self._held)

    def empty(self, until: float) -> bool:
        """Waits until none is left, or for the time `until`; which of the two."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._held, max(0.0, until - time.monotonic()))

    def next_to_beat(self, unless: Callable[[], bool]) -> Held | None:
        """Waits for the time of the next beat; None once `unless` is true."""
        with self._changed:
            while not unless():
                first = min(self._held, key=lambda held: held.next_beat, default=None)
                left = threading.TIMEOUT_MAX if first is None else first.next_beat - time.monotonic()
                if first is not None and left <= 0:
                    return first
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return None
