"""Writes how far a running job is, at most twice a second."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from sql.errors import StorageError

log = logging.getLogger(__name__)

GAP_SECONDS = 0.5
LIMIT = 16 * 1024


class Progress:
    """One per run of a job. Reports that come sooner than GAP_SECONDS after the last one written are dropped."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._written_at = float("-inf")

    def report(self, value: Any) -> None:
        """Shows `value`, JSON of at most LIMIT characters. Raises TypeError or ValueError when it is not."""
        text = json.dumps(value, allow_nan=False)
        if len(text) > LIMIT:
            raise ValueError(f"progress of {len(text)} characters: it may have {LIMIT}")
        if time.monotonic() - self._written_at < GAP_SECONDS:
            return
        try:
            self._write(text)
        except StorageError as error:
            # Progress is worth no failure: what the database refuses is dropped.
            log.debug("progress not written: %s", error)
        # Taken after the write: where that is slow, reports become fewer and the handler keeps its time.
        self._written_at = time.monotonic()
