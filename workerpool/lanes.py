"""What a worker knows of the queues it works: their streams, and where its last claim of each ended.

A claim that orders from the start of the index walks every dead row that vacuum has not removed: over 600k jobs its
rate falls below a third, under a held snapshot from 67k to 4k jobs/s. Starting where the last claim ended keeps it
flat. Rows that appear behind that cursor (a retry, a late commit, a stream nobody has seen) are found by a scan from
the start, whose cost grows with the dead rows and is therefore rationed.
"""

import random
import time
from collections.abc import Sequence
from typing import Protocol

from sql import leases
from sql.connection import Connection
from sql.leases import START, Pick
from sql.rows import Claimed

# A scan may take a fortieth of the time, comes twice within 100 ms only for a hint (at 20 ms each batch paid for one,
# 1 %) and is put off for a second at most.
_SCAN_GAP_SECONDS = 0.100
_SCAN_GAP_FACTOR = 40
_LONGEST_GAP_SECONDS = 1.0
# So many streams that are empty are still asked, each for the price of an index lookup: all of 200 took 3 % of a drain.
_REMEMBERED = 32


class Claim(Protocol):
    """`leases.claim`, for a worker."""

    def __call__(
        self, conn: Connection, /, *, queue: str, picks: Sequence[Pick], limit: int, worker_id: int
    ) -> list[Claimed]:
        """Up to `limit` due jobs, from the picks in their order."""


class Lane:
    """One queue as one worker sees it. `claim` is called like `leases.claim` and may do more in the same round trip.

    seen_at  when the last look at all of the queue began
    """

    def __init__(self, queue: str, kinds: Sequence[str], claim: Claim = leases.claim) -> None:
        self.queue = queue
        self.seen_at = 0.0
        self._kinds = kinds
        self._claim = claim
        self._streams: list[tuple[str, int]] = []
        self._cursors: dict[tuple[str, int], tuple[str, str]] = {}
        self._turn = 0
        self._served: dict[tuple[str, int], int] = {}
        self._next_scan = 0.0
        self._next_scan_if_hinted = 0.0
        self._scan_seconds = 0.0
        self._due_at = float("inf")
        self._not_due: set[tuple[str, int]] = set()

    def claim(self, conn: Connection, worker_id: int, limit: int, hinted: bool = False) -> list[Claimed]:
        """Up to `limit` due jobs, highest priority first. Raises Unavailable.

        `hinted`: a job is said to have come. Most likely it lies ahead of a cursor, so the scan that is due comes after
        it and does not cost it half a millisecond. Where it does not, a scan finds it without waiting its 100 ms.
        """
        if hinted or time.monotonic() < self._next_scan:
            claimed = self._claim_known(conn, worker_id, limit)
            if hinted and not claimed:
                self._next_scan = min(self._next_scan, self._next_scan_if_hinted)
            if hinted or claimed:
                # Work comes, and may lie behind the cursors too. A look for the sake of another queue says nothing of
                # this one: two queues kept each other from their rest with it.
                self._due_at = min(self._due_at, self._next_scan)
            if claimed:
                return claimed
        return self._scan(conn, worker_id, limit) if time.monotonic() >= self._next_scan else []

    def _scan(self, conn: Connection, worker_id: int, limit: int) -> list[Claimed]:
        self.seen_at = began = time.monotonic()
        found = {(stream.kind, stream.priority): stream for stream in leases.streams(conn, self.queue, self._kinds)}
        former = self._cursors.copy()
        for key, stream in found.items():
            if stream.due_in == 0.0:
                # It may lie behind the cursor; what is not due yet lies ahead of it.
                self._cursors.pop(key, None)
        # A stream that is empty now is the most likely one for the next hint to be of.
        empty = sorted(self._cursors.keys() - found.keys(), key=self._served.__getitem__)[-_REMEMBERED:]
        self._streams = [*found, *empty]
        self._cursors = {key: self._cursors[key] for key in self._streams if key in self._cursors}
        self._served = {key: self._served[key] for key in self._streams if key in self._served}
        due = [stream.due_in for stream in found.values()]
        self._due_at = began + min(due, default=float("inf"))
        self._not_due = {key for key, stream in found.items() if stream.due_in > 0.0}
        claimed = self._claim_known(conn, worker_id, limit) if 0.0 in due else []
        if len(claimed) < limit:
            # Others took what was due. Without a cursor the stream would be forgotten, and its next hint miss.
            self._cursors = {key: former[key] for key in self._streams if key in former} | self._cursors
        self._put_off_scan(time.monotonic() - began)
        return claimed

    def idle_seconds(self) -> float:
        """How long this queue may be left alone after a claim that found nothing; `math.inf` when it is empty.

        Before a long wait comes a scan, so that a wait begins only when nothing is due and ends when something is.
        """
        now = time.monotonic()
        if self._due_at <= now:
            return max(0.0, self._next_scan - now)
        return self._due_at - now

    def _put_off_scan(self, seconds: float) -> None:
        # The shorter of the last two: the first on a connection is slow, and one may have waited for a lock.
        usual, self._scan_seconds = min(self._scan_seconds, seconds), seconds
        gap = min(_LONGEST_GAP_SECONDS, _SCAN_GAP_FACTOR * usual)
        now = time.monotonic()
        self._next_scan_if_hinted = now + gap
        self._next_scan = now + max(_SCAN_GAP_SECONDS, gap)

    def _claim_known(self, conn: Connection, worker_id: int, limit: int) -> list[Claimed]:
        if not self._streams:
            return []
        picks = self._picks()
        claimed = self._claim(conn, queue=self.queue, picks=picks, limit=limit, worker_id=worker_id)
        self._turn += 1
        for job in claimed:
            stream = job.kind, int(job.priority)
            self._cursors[stream] = (job.run_at, job.id)
            self._served[stream] = self._turn
        if len(picks) > _REMEMBERED and len(claimed) == limit:
            self._forget_above(int(claimed[-1].priority))
        return claimed

    def _forget_above(self, priority: int) -> None:
        """A full claim that came down to `priority` found no more in what is above: the next scan looks there again."""
        empty = [key for key in self._streams if key[1] > priority and key not in self._not_due]
        forgotten = set(sorted(empty, key=lambda key: self._served.get(key, 0))[:-_REMEMBERED])
        self._streams = [key for key in self._streams if key not in forgotten]

    def _picks(self) -> list[Pick]:
        """Highest priority first; kinds of equal priority take turns: first is the one served longest ago."""
        keys = list(self._streams)
        # Not by counting claims: a higher priority served in every second one would keep a kind from its turn for ever.
        # And not by name at first: where workers are soon replaced, each would begin with the same kind.
        keys.sort(key=lambda key: (-key[1], self._served.get(key, random.random())))
        return [Pick(*key, *self._cursors.get(key, START)) for key in keys]
