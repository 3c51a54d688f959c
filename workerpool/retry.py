"""Back-off: how long a job waits after a failure its handler reported. Pure: no clock, no database.

A crash or an expired lease does not come here; such a job runs again at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Beyond this exponent every window has long reached its cap, and a float power could overflow.
_LARGEST_EXPONENT: Final = 64
_LARGEST_FACTOR: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """After attempt n (1 = the first) the delay is uniform in [base, min(cap, base · factorⁿ)] seconds.

    Uniform over the whole window and not around its end: jobs that failed together, say because a service they
    all need went away, must not come back together.

    Raises ValueError when the numbers make no window.
    """

    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    factor: float = 3.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.base_seconds, self.cap_seconds, self.factor))):
            raise ValueError("Backoff needs finite numbers")
        if self.base_seconds < 0 or self.cap_seconds < self.base_seconds:
            raise ValueError("Backoff needs 0 <= base_seconds <= cap_seconds")
        if not 1 <= self.factor <= _LARGEST_FACTOR:
            raise ValueError(f"Backoff needs a factor from 1 to {_LARGEST_FACTOR:.0f}")

    def window(self, attempt: int) -> tuple[float, float]:
        """The shortest and the longest delay in seconds after attempt `attempt`, counted from 1."""
        exponent = min(max(1, attempt), _LARGEST_EXPONENT)
        return self.base_seconds, min(self.cap_seconds, self.base_seconds * self.factor**exponent)

    def delay(self, attempt: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Seconds to wait after attempt `attempt`; `uniform(low, high)` is the source of chance."""
        return uniform(*self.window(attempt))
