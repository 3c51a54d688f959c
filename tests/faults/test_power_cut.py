"""The power goes under PostgreSQL: what was accepted is there afterwards, unless it was told not to care."""

from pathlib import Path

import pytest
from faults.harness import power
from faults.harness.clients import sound

pytestmark = pytest.mark.needs_mounts
CUTS = 2


def test_nothing_accepted_is_lost_when_the_power_goes(folder: Path) -> None:
    figures = sound(power.power_cuts(folder, CUTS))
    print(figures)
    assert figures["accepted"] > 100 * CUTS
    assert figures["never_ran"] == 0


def test_with_fsync_off_the_same_cut_loses_and_the_check_says_so(folder: Path) -> None:
    figures = power.unsafe(folder, fsync="off")
    print(figures)
    assert figures["problems"] == ["fsync is off"]
    assert figures["lost"] > 0
    assert figures["started"] or figures["damage"]


def test_with_synchronous_commit_off_it_loses_and_the_check_says_so(folder: Path) -> None:
    figures = power.unsafe(folder, synchronous_commit="off")
    print(figures)
    assert figures["problems"] == ["synchronous_commit is off"]
    assert figures["started"]
    assert 0 < figures["lost"] < figures["accepted"]
