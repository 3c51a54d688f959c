"""Storms: everything at once, under many faults at once, held against a ledger; and the same with defects planted."""

import os
import time

import pytest
from faults.harness.controls import control
from faults.harness.defects import DEFECTS
from faults.harness.faults import FAULTS
from faults.harness.storm import Plan, storm

SECONDS = 12
# Of all controls these are cheap and see different parts of the checker; `python -m bench.faults` runs them all.
CONTROLS = ("settle_first", "answer_before_commit", "a_death_costs_the_whole_batch", "retry_for_ever")


@pytest.mark.timeout(240)
def test_every_accepted_job_comes_to_one_end_whatever_dies() -> None:
    # Another storm in each run; of one that fails the seed is in the message, and `--seed` replays it.
    seed = int(os.environ.get("WINDLASS_TEST_SEED") or time.time())
    outcome = storm(Plan(seed, SECONDS))
    print(outcome.text)
    assert not outcome.verdict.problems, f"{outcome.text}\nagain: python -m bench.faults --seed {seed}"
    assert outcome.verdict.figures["accepted"] > 100
    assert len(outcome.injected) >= 3


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", [CONTROLS[0], *(pytest.param(each, marks=pytest.mark.long) for each in CONTROLS[1:])])
def test_a_planted_defect_is_found(name: str) -> None:
    found = control(name)
    print(found.outcome.text)
    assert found.caught, f"{DEFECTS[name].what}: not found\n{found.outcome.text}"


def test_every_defect_is_brought_to_light_by_faults_that_exist() -> None:
    assert all(set(defect.faults) <= FAULTS.keys() for defect in DEFECTS.values())
    assert len(DEFECTS) >= 12
