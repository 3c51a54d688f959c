"""Deletes what is past its retention, a thousand rows at a time."""

import logging

from sql import retention, workers
from sql.connection import Connection

log = logging.getLogger(__name__)

_BATCH = 1000
_BATCHES_A_PASS = 20
_WORKERS_KEPT_SECONDS = 24 * 3600


class Prune:
    """Ended jobs after RETENTION_DAYS (for ever when that is unset), ended key windows, rows of workers long gone."""

    at_once = False

    def __init__(self, retention_days: int | None) -> None:
        self._retention_days = retention_days
        self.every = 60.0

    def run(self, conn: Connection) -> None:
        """A bounded pass; when there is more it comes again soon."""
        workers.forget(conn, seconds=_WORKERS_KEPT_SECONDS)
        full = retention.prune_keys(conn, limit=_BATCH) == _BATCH
        if self._retention_days is not None:
            full = self._prune_done(conn, self._retention_days) or full
        self.every = 1.0 if full else 60.0

    @staticmethod
    def _prune_done(conn: Connection, days: int) -> bool:
        pruned = 0
        for _ in range(_BATCHES_A_PASS):
            batch = retention.prune_done(conn, days=days, limit=_BATCH)
            pruned += batch
            if batch < _BATCH:
                break
        if pruned:
            log.info("deleted %d jobs past their retention", pruned)
        return pruned == _BATCH * _BATCHES_A_PASS
