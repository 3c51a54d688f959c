"""How many jobs may wait in a queue, decided without asking the database for each.

The tables hold no totals (see `app.counts`), so each web process counts a queue now and then, hands out its share of
the room that was left, and counts again when the share is used up or a second old. So a queue is never counted more
often than the processes' ration allows, and most enqueues pay for nothing but a lock in memory.

**How exact.** Jobs of one process alone: to the job, short of fewer than there are processes. Of several: a share that
one of them holds for up to a second is room that others have filled meanwhile, so a queue may pass the limit by at most
what all of them store in a second, or in twenty times what a count takes where that is longer (a million waiting jobs:
two seconds). What comes in another way than over HTTP (`windlass.enqueue`, follow-ups, retries, redrives) is never
refused, and counted.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import sql.queues
from sql.connection import Connection

_FRESH_SECONDS = 1.0
# Counting takes a twentieth of the time, of all web processes together.
_REST = 19
# The client chooses queue names; what it may fill our memory with is bounded.
_MOST_QUEUES = 1000


class DepthLimit:
    """At most `limit` jobs wait in any one queue, as far as one of `processes` web processes can tell."""

    def __init__(self, limit: int, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._processes = processes
        self._clock = clock
        self._lock = threading.Lock()
        self._shares: OrderedDict[str, _Share] = OrderedDict()

    def admit(self, conn: Connection, queue: str, jobs: int = 1) -> int:
        """How many of `jobs` may be stored in `queue` now. Raises Unavailable."""
        share = self._share(queue)
        taken = share.take(jobs, self._clock())
        if taken < jobs and share.is_due(self._clock()):
            self._count(conn, queue, share)
            taken += share.take(jobs - taken, self._clock())
        return taken

    def _share(self, queue: str) -> "_Share":
        with self._lock:
            share = self._shares.setdefault(queue, _Share())
            self._shares.move_to_end(queue)
            if len(self._shares) > _MOST_QUEUES:
                self._shares.popitem(last=False)
            return share

    def _count(self, conn: Connection, queue: str, share: "_Share") -> None:
        began, taken_before = self._clock(), share.taken
        waiting = sql.queues.waiting(conn, queue, self.limit)
        due_at = began + _REST * self._processes * (self._clock() - began)
        share.fill(max(0, self.limit - waiting) // self._processes, taken_before, due_at, began + _FRESH_SECONDS)


class _Share:
    """What one process may still store in one queue; `taken` is all it has ever taken."""

    def __init__(self) -> None:
        self.taken = 0
        self._lock = threading.Lock()
        self._left = 0
        self._due_at = self._stale_at = -math.inf

    def take(self, jobs: int, now: float) -> int:
        """As many of `jobs` as there is room for, as far as is known."""
        with self._lock:
            if now >= self._stale_at:
                return 0
            got = min(jobs, self._left)
            self._left -= got
            self.taken += got
            return got

    def is_due(self, now: float) -> bool:
        """Whether the ration allows another count. Of several threads that see so at once each counts."""
        return now >= self._due_at

    def fill(self, room: int, taken_before: int, due_at: float, stale_at: float) -> None:
        """`room` was left when `taken_before` had been taken."""
        with self._lock:
            self._left = max(0, room - (self.taken - taken_before))
            self._due_at = due_at
            self._stale_at = max(stale_at, due_at)
