"""Writes how far a running job is, at most twice a second."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from sql.errors import StorageError

log = logging.getLogger(__name__)

GAP_SECONDS = 0.5


class Progress:
    """One per run of a job. The first report is written at once; of those that follow too soon the newest waits."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._waiting: str | None = None
        self._written_at = float("-inf")

    def report(self, value: Any) -> None:
        """Shows `value`, any JSON. Raises TypeError or ValueError when it is none."""
        self._waiting = json.dumps(value, allow_nan=False)
        self.tick()

    def tick(self) -> None:
        """Writes what waits, if it is time. Progress is worth no failure: what the database refuses is dropped."""
        if self._waiting is None or time.monotonic() - self._written_at < GAP_SECONDS:
            return
        waiting, self._waiting = self._waiting, None
        self._written_at = time.monotonic()
        try:
            self._write(waiting)
        except StorageError as error:
            log.debug("progress not written: %s", error)
