"""Writes how far a running job is, at most twice a second."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from sql.errors import StorageError
from sql.rows import Claimed

log = logging.getLogger(__name__)

GAP_SECONDS = 0.5
LIMIT = 16 * 1024


class Progress:
    """What the handlers of one worker report. Those of a job that come within GAP_SECONDS of its last one written
    are dropped.
    """

    def __init__(self, write: Callable[[Claimed, str], object]) -> None:
        self._write = write
        self._job: Claimed | None = None
        self._written_at = 0.0

    def report(self, job: Claimed, value: Any) -> None:
        """Shows `value`, JSON of at most LIMIT characters. Raises TypeError or ValueError when it is not."""
        text = json.dumps(value, allow_nan=False)
        if len(text) > LIMIT:
            raise ValueError(f"progress of {len(text)} characters: it may have {LIMIT}")
        if job is self._job and time.monotonic() - self._written_at < GAP_SECONDS:
            return
        self._job = job
        try:
            self._write(job, text)
        except StorageError as error:
            # Progress is worth no failure: what the database refuses is dropped.
            log.debug("progress not written: %s", error)
        # Taken after the write: where that is slow, reports become fewer and the handler keeps its time.
        self._written_at = time.monotonic()
