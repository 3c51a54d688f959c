"""How many jobs may wait in a queue, decided without asking the database for each.

The tables hold no totals (see `app.counts`), so each web process counts a queue now and then, hands out its share of
the room that was left, and counts again when the share is used up or a second old. So a queue is never counted more
often than the processes' ration allows, and most enqueues pay for nothing but a lock in memory.

**How exact.** Jobs of one process alone: to the job. What it has admitted and not seen stored is in no count, so it is
kept account of until its statement is over, and no count hands that room out again. (A statement whose answer was lost
may be stored after it.) Of several: a share that one of them holds for up to a second, or is storing, is room that
others have filled meanwhile, so a queue may pass the limit by at most what all of them store in a second, or in twenty
times what a count takes where that is longer (a million waiting jobs: two seconds). And shares are rounded up, because
rounded down the last room would be nobody's: that passes the limit by fewer than there are processes. What comes in
another way than over HTTP (`windlass.enqueue`, follow-ups, retries, redrives) is never refused, and counted.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import sql.queues
from sql.connection import Connection

_FRESH_SECONDS = 1.0
# Counting takes a twentieth of the time, of all web processes together.
_REST = 19
# The client chooses queue names; what it may fill our memory with is bounded.
_MOST_QUEUES = 1000


class Admission:
    """Room for `jobs` jobs while they are being stored. `stored` is how many were; None, as before and after an error,
    is that nobody knows: what was not stored is then room again with the next count, and otherwise at once.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.stored: int | None = None


class DepthLimit:
    """At most `limit` jobs wait in any one queue, as far as one of `processes` web processes can tell."""

    def __init__(self, limit: int, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._processes = processes
        self._clock = clock
        self._lock = threading.Lock()
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        # Whoever names many queues must not make us forget what is being stored in another.
        self._in_use: WeakValueDictionary[str, _Share] = WeakValueDictionary()

    @contextmanager
    def admit(self, conn: Connection, queue: str, jobs: int = 1) -> Iterator[Admission]:
        """Room for as many of `jobs` as may be stored in `queue` now, until the statement inside is over.

        Raises Unavailable.
        """
        share = self._share(queue)
        admission = Admission(share.take(jobs, self._clock()))
        try:
            if admission.jobs < jobs and share.is_due(self._clock()):
                self._count(conn, queue, share)
                admission.jobs += share.take(jobs - admission.jobs, self._clock())
            yield admission
        finally:
            share.settle(admission)

    def _share(self, queue: str) -> "_Share":
        with self._lock:
            share = self._in_use.get(queue) or _Share()
            self._shares[queue] = self._in_use[queue] = share
            self._shares.move_to_end(queue)
            if len(self._shares) > _MOST_QUEUES:
                self._shares.popitem(last=False)
            return share

    def _count(self, conn: Connection, queue: str, share: "_Share") -> None:
        began, settled_before = self._clock(), share.settled
        waiting = sql.queues.waiting(conn, queue, self.limit)
        due_at = began + _REST * self._processes * (self._clock() - began)
        room = math.ceil(max(0, self.limit - waiting) / self._processes)
        share.fill(room, settled_before, due_at, began + _FRESH_SECONDS)


class _Share:
    """What one process may still store in one queue.

    `settled` is all whose statement is over, and which a count that begins now does not miss.
    """

    def __init__(self) -> None:
        self.settled = 0
        self._lock = threading.Lock()
        # All that was ever taken and not given back: those settled and those in flight.
        self._taken = 0
        # Below zero while a count found less room than is in flight: what of that is given back is nobody's room.
        self._left = 0
        self._due_at = self._stale_at = -math.inf

    def take(self, jobs: int, now: float) -> int:
        """As many of `jobs` as there is room for, as far as is known."""
        with self._lock:
            if now >= self._stale_at:
                return 0
            got = max(0, min(jobs, self._left))
            self._left -= got
            self._taken += got
            return got

    def settle(self, admission: Admission) -> None:
        """The statement is over: a count that begins from now on finds what it stored."""
        stored = admission.jobs if admission.stored is None else admission.stored
        with self._lock:
            self._left += admission.jobs - stored
            self._taken -= admission.jobs - stored
            self.settled += stored

    def is_due(self, now: float) -> bool:
        """Whether the ration allows another count. Of several threads that see so at once each counts."""
        return now >= self._due_at

    def fill(self, room: int, settled_before: int, due_at: float, stale_at: float) -> None:
        """A count that began when `settled_before` were settled left `room`: it may have missed all others."""
        with self._lock:
            self._left = room - (self._taken - settled_before)
            self._due_at = due_at
            self._stale_at = max(stale_at, due_at)
