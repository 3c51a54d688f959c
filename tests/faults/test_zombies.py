"""Workers, pools and holders that are stopped past their lease, and woken while others do their work."""

import random

from faults.harness import zombies
from faults.harness.arena import Arena
from faults.harness.history import faultless

ROUNDS = 14


def test_of_what_a_zombie_says_nothing_is_accepted_and_it_starts_nothing(arena: Arena) -> None:
    figures = faultless(zombies.run(arena, ROUNDS, random.getrandbits(32)))
    print(figures)
    assert figures["told_of_a_settle_that_is_not_there"] == 0
    # They were in the middle of jobs, and did try.
    assert figures["rescued"] > 0
    assert figures["stale_settles_refused"] > 0
    assert figures["refused_over_http"] > 0
