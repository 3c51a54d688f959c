"""Storms: everything at once, under many faults at once, held against a ledger; and the same with defects planted."""

import os
import sys
import time
from dataclasses import replace

import pytest
from faults.harness.controls import CONTROLS, SERVERS, control
from faults.harness.defects import DEFECTS
from faults.harness.faults import FAULTS
from faults.harness.storm import Plan, storm

from bench.faults import asked, plans

SECONDS = 12
QUICKEST = "settle_first"


@pytest.mark.timeout(240)
def test_every_accepted_job_comes_to_one_end_whatever_dies() -> None:
    # Another storm in each run; of one that fails the message says how to make it again.
    seed = int(os.environ.get("WINDLASS_TEST_SEED") or time.time())
    outcome = storm(Plan(seed, SECONDS))
    print(outcome.text)
    assert not outcome.verdict.problems, outcome.text
    assert outcome.verdict.figures["accepted"] > 100
    assert len(outcome.injected) >= 3


def test_a_storm_is_made_again_by_the_command_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(1795775533, 12.5, clients=2, pause=0.07, at_once=5, gap=0.25)
    monkeypatch.setattr(sys, "argv", plan.command.split()[2:])
    assert plans(asked()) == [replace(plan, drain_seconds=300)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each == QUICKEST else pytest.mark.long) for each in CONTROLS]
)
def test_what_is_planted_is_found(name: str) -> None:
    found = control(name)
    print(found.text)
    assert found.caught, f"{found.what}: not found\n{found.text}"


def test_every_defect_is_brought_to_light_by_faults_that_exist() -> None:
    assert all(set(defect.faults) <= FAULTS.keys() for defect in DEFECTS.values())
    assert len(DEFECTS) >= 12
    assert len(SERVERS) >= 3
