"""Waiting in tests: always for a condition, always with a deadline."""

import select
import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def until(predicate: Callable[[], Seen], seconds: float = 10.0, message: str = "") -> Seen:
    """Asks until the predicate is true and returns what it then said; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        seen = predicate()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(message or f"still not so after {seconds:g} s, last seen: {seen!r}")
        select.select([], [], [], 0.01)
