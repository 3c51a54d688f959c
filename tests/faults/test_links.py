"""A link to the database that dies without a word."""

import random

import pytest
from faults.harness import links
from faults.harness.arena import Arena
from faults.harness.history import faultless

pytestmark = [pytest.mark.needs_iproute2, pytest.mark.needs_root, pytest.mark.needs_network_namespace]

CUTS, FLAPS = 1, 2


def test_a_dead_link_is_noticed_within_ten_seconds_idle_and_in_a_statement_and_all_goes_on_after_it(
    arena: Arena,
) -> None:
    figures = faultless(links.dead(arena, CUTS, random.getrandbits(32)))
    print(figures)
    assert figures["slowest_notice_seconds"] <= 10
    assert figures["slowest_answer_seconds"] <= 10
    assert figures["one_job_a_key"]
    assert figures["processes_that_exited"] == figures["attempts_spent"] == 0


@pytest.mark.long
def test_a_link_that_flaps_every_second_costs_no_attempt(arena: Arena) -> None:
    figures = faultless(links.flapping(arena, FLAPS, random.getrandbits(32)))
    print(figures)
    assert figures["attempts_spent"] == 0
