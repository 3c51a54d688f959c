"""Deletes what is past its retention, a thousand rows at a time."""

import logging

from sql import retention, workers
from sql.connection import Connection

log = logging.getLogger(__name__)

_BATCH = 1000
_WORKERS_KEPT_SECONDS = 24 * 3600


class Prune:
    """Ended jobs after RETENTION_DAYS (for ever when that is unset), ended key windows, rows of workers long gone."""

    at_once = False

    def __init__(self, retention_days: int | None) -> None:
        self._retention_days = retention_days
        self.every = 60.0

    def run(self, conn: Connection) -> None:
        """One batch of each; when there is more it comes again soon, after the other duties."""
        workers.forget(conn, seconds=_WORKERS_KEPT_SECONDS)
        full = retention.prune_keys(conn, limit=_BATCH) == _BATCH
        if self._retention_days is not None:
            pruned = retention.prune_done(conn, days=self._retention_days, limit=_BATCH)
            full = full or pruned == _BATCH
            if pruned:
                log.info("deleted %d jobs past their retention", pruned)
        self.every = 0.1 if full else 60.0
