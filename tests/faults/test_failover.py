"""The primary dies and its standby takes over: what a synchronous one was told is kept, and nobody is told more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.harness import failover
from faults.harness.clients import sound
from faults.harness.failover import Pair
from faults.harness.service import Service

FAILOVERS = 1


@pytest.fixture(scope="module")
def service_and_pair(module_folder: Path) -> Iterator[tuple[Service, Pair]]:
    """One for all: each test leaves it as it was, and the verdict is over all that was ever enqueued."""
    with failover.on_a_pair(module_folder) as made:
        yield made


def test_nothing_accepted_is_lost_when_a_synchronous_standby_takes_over(
    service_and_pair: tuple[Service, Pair],
) -> None:
    figures = sound(failover.failovers(*service_and_pair, FAILOVERS))
    print(figures)
    assert figures["settled_on_the_old_primary"] == 0
    assert figures["accepted_after_promotion_seconds_most"] < 5


def test_an_asynchronous_standby_that_lags_loses_and_all_that_is_left_is_done(folder: Path) -> None:
    with failover.on_a_pair(folder) as (service, pair):
        figures = failover.asynchronous_failovers(service, pair, 1)
    print(figures)
    sound(figures, without=failover.LOST_WITH_THE_PRIMARY)
    assert 0 < figures["lost"] < figures["accepted"]


@pytest.mark.long
def test_a_commit_that_no_standby_has_is_never_answered_as_accepted(service_and_pair: tuple[Service, Pair]) -> None:
    figures = sound(failover.silent_acknowledgements(*service_and_pair, rounds=1))
    print(figures)
    # The trap was there: who takes a commit without an error for one lost jobs.
    assert figures["careless_lost"] > 0
    assert figures["waits_cancelled"] > 0


@pytest.mark.long
def test_work_waits_for_a_standby_that_is_away_and_goes_on_when_it_is_back(
    service_and_pair: tuple[Service, Pair],
) -> None:
    figures = sound(failover.absent_standby(*service_and_pair, seconds=8), without=["exits"])
    print(figures)
    assert figures["unavailable"] > 0


@pytest.mark.long
def test_a_primary_that_becomes_read_only_is_left_by_everybody(service_and_pair: tuple[Service, Pair]) -> None:
    figures = sound(failover.switchover(*service_and_pair))
    print(figures)
    assert figures["accepted_after_promotion_seconds"] < 5
