"""How one run of one job can end: a closed set, and the text that may be stored about a failure.

`execution` turns every ending of a handler into exactly one of these values and `settlement` has one branch for
each. `Retry`, `Dead` and `Cancelled` are exceptions as well, so a handler steers its own fate from any depth of
its code; `Retry` and `Dead` may also simply be returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from workerpool.kinds.text import clean_text

__all__ = [
    "MAX_DELAY_SECONDS",
    "Cancelled",
    "Dead",
    "Outcome",
    "Released",
    "Retry",
    "Succeeded",
    "describe",
]

MAX_DELAY_SECONDS: Final = 365 * 86400.0


def describe(error: BaseException) -> str:
    """`TypeName: message`, storable; the type's name alone when there is no message."""
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:
        # A __str__ that raises must not hide the failure it was meant to describe.
        message = "(its message could not be read)"
    return clean_text(f"{name}: {message}" if message else name)


class Outcome:
    """One ending of one run. Exactly `Succeeded`, `Retry`, `Dead`, `Cancelled` or `Released`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Succeeded(Outcome):
    """The handler returned; `result` is what it returned, any JSON value."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Released(Outcome):
    """The job goes back now and its attempt is given back: we were leaving, the job did not fail."""


class Retry(Outcome, Exception):
    """This attempt failed and another may succeed.

    `after` is the delay in seconds before the next attempt (0 … one year, longer is cut); without it the kind's
    back-off decides. When the job's attempts are used up it becomes a dead letter all the same.

    Raises ValueError for a delay that is not a number.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        self.reason: str = clean_text(str(reason))
        self.after: float | None = None if after is None else _clamped(after)
        super().__init__(self.reason)


class Dead(Outcome, Exception):
    """This job cannot succeed however often it is tried: it becomes a dead letter now."""

    def __init__(self, reason: str) -> None:
        self.reason: str = clean_text(str(reason))
        super().__init__(self.reason)


class Cancelled(Outcome, BaseException):
    """The handler saw that its job is to be cancelled. Raised by `Context.check_cancelled`.

    Not an `Exception`, so that a handler's own `except Exception` does not swallow it.
    """


def _clamped(after: float) -> float:
    if after != after:
        raise ValueError("Retry(after=…) needs a number of seconds, not NaN")
    # Compared before it becomes a float: an integer may be too large for one.
    return float(min(max(0.0, after), MAX_DELAY_SECONDS))
