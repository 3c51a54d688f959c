"""Workers killed at random instants while they work through many quick jobs."""

import random

from faults.harness import history, kills
from faults.harness.arena import Arena

KILLS = 40


def test_no_job_is_lost_and_none_runs_more_often_than_it_was_claimed(arena: Arena) -> None:
    figures = history.faultless(kills.run(arena, KILLS, random.getrandbits(32)))
    print(figures)
    assert figures["held_when_killed"] > 0
    # A kill can hit one handler between its effect and the board, no more.
    assert figures["duplicate_starts"] <= KILLS
    # How soon is for a bench to say; that others wait for nothing but their turn, for this.
    assert figures["again_seconds_most"] < 30
