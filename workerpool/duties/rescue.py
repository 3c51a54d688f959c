"""Takes back the leases of holders that are gone: lost workers of any pool, and HTTP leases that ran out."""

import logging
import time
from collections.abc import Callable

from sql import hints, leases, workers
from sql.connection import Connection
from workerpool import metrics

log = logging.getLogger(__name__)

_BATCH = 500
# A claim that outlived its worker lands in the table within a statement's time limit. What else might leave a job with
# nobody is looked for this often.
_THOROUGH_SECONDS = 30.0


class Rescue:
    """Any steward rescues for all pools. `outage_ended_at()` is when the database last came back."""

    every = 1.0
    at_once = False

    def __init__(self, lease_seconds: float, outage_ended_at: Callable[[], float]) -> None:
        self._lease_seconds = lease_seconds
        self._outage_ended_at = outage_ended_at
        self._mark_at = 0.0
        self._thorough_at = 0.0

    def run(self, conn: Connection) -> None:
        """One pass, in batches until nothing is left to take."""
        now = time.monotonic()
        # An outage kept every steward from beating. For one lease after it nobody is taken for lost, or it would
        # turn into duplicates; HTTP leases wait for nothing.
        workers_too = now - self._outage_ended_at() > self._lease_seconds
        if workers_too and now >= self._mark_at:
            self._mark_at = now + min(5.0, self._lease_seconds / 6)
            for lost in workers.mark_lost(conn):
                log.warning("worker %d is lost: no heartbeat for as long as its lease", lost)
        thorough = workers_too and now >= self._thorough_at
        if thorough:
            self._thorough_at = now + _THOROUGH_SECONDS
        while True:
            rescued = leases.rescue(conn, workers_too=workers_too, thorough=thorough, limit=_BATCH)
            if rescued:
                metrics.leases_expired.inc(len(rescued))
                log.warning("rescued %d jobs whose holder is gone", len(rescued))
                hints.hint(conn, len(rescued))
            if len(rescued) < _BATCH:
                return
