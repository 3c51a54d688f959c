"""A kill at every system call: whatever was done by then, the job goes on from there and ends once."""

import random

import pytest
from faults.harness import cuts, history
from faults.harness.arena import Arena
from faults.harness.history import faultless

pytestmark = [pytest.mark.needs_strace, pytest.mark.needs_root]

# Of some 30 to 90 calls each; all of them are made in the long run.
WORKER_POINTS, STEWARD_POINTS, WEB_POINTS = 3, 3, 2


@pytest.mark.parametrize("kind", cuts.JOBS)
def test_a_worker_killed_at_any_system_call_of_claim_and_settle_loses_nothing(arena: Arena, kind: str) -> None:
    figures = faultless(cuts.worker(arena, kind, WORKER_POINTS, random.getrandbits(32)))
    assert figures["killed"] == figures["points"]
    assert figures["not_both_or_neither"] == 0
    assert figures["slowest_end_after_kill_seconds"] < 5


def test_a_steward_killed_at_any_system_call_of_its_passes_loses_no_lease(arena: Arena) -> None:
    figures = faultless(cuts.steward(arena, STEWARD_POINTS, random.getrandbits(32)))
    assert figures["killed"] > 0
    assert (figures["leases_lost"], figures["attempts_of_its_job"], figures["starts"]) == (0, 1, 1)


def test_a_web_process_killed_at_any_system_call_of_a_request_leaves_it_safe_to_repeat(arena: Arena) -> None:
    figures = faultless(
        cuts.web(arena, WEB_POINTS, random.getrandbits(32)), without=("unfinished", *history.OF_EFFECTS)
    )
    jobs, keys = figures["jobs_and_keys"]
    assert jobs == keys
    assert figures["killed"] > 0
