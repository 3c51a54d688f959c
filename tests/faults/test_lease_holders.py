"""Holders of leases whose words are lost, doubled, late, out of order or nonsense."""

from faults.harness import history, holders
from faults.harness.arena import Arena
from faults.harness.history import faultless


def test_no_word_that_goes_astray_between_holder_and_service_changes_another_lease_or_ends_a_job_twice(
    arena: Arena,
) -> None:
    figures = faultless(holders.matrix(arena), without=("unfinished", *history.OF_EFFECTS))
    assert figures["held"] == figures["cases"] > 30
