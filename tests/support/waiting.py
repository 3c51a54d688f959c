"""Waiting for a condition, never for a time."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_pause = threading.Event()


def until(predicate: Callable[[], T], seconds: float = 5.0, message: str = "") -> T:
    """Calls `predicate` until it answers something true, and returns that; fails after `seconds` with `message`."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            what = message or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"after {seconds:g} s still not: {what} (last answer: {answer!r})")
        _pause.wait(pause)
        pause = min(pause * 1.5, 0.05)
