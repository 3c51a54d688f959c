"""Clocks of processes that are minutes apart, and jump."""

import random

import pytest
from faults.harness import clocks
from faults.harness.arena import Arena
from faults.harness.history import faultless

ROUNDS = 1


@pytest.mark.needs_c_compiler
def test_clocks_ten_minutes_apart_and_jumping_make_no_difference(arena: Arena) -> None:
    figures = faultless(clocks.apart(arena, ROUNDS, random.getrandbits(32)))
    print(figures)
    assert figures["started_before_run_at"] == figures["workers_taken_for_lost"] == figures["attempts_spent"] == 0
    assert figures["latest_scheduled_start_seconds"] < 2
    assert figures["webhook_clock_error_seconds"] < 5
