"""A fault is done to a cast; `chance` decides whatever is left open."""

import functools
import random
from collections.abc import Callable

from faults.harness.cast import Cast

Fault = Callable[[Cast, random.Random], str | None]


def hits_one_of(what: str) -> Callable[[Callable[[Cast, str, random.Random], str | None]], Fault]:
    """Makes a fault of what is done to one pool, holder or program, named to it; where none is free it is no fault."""

    def fault_of(harm: Callable[[Cast, str, random.Random], str | None]) -> Fault:
        @functools.wraps(harm)
        def fault(cast: Cast, chance: random.Random) -> str | None:
            with cast.borrowed(what, chance) as name:
                return None if name is None else harm(cast, name, chance)

        return fault

    return fault_of
