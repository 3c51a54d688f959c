"""How long a job waits after a failure its handler reported."""

import random
from statistics import mean

import pytest

from workerpool.retry import Backoff


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 3.0), (2, 9.0), (3, 27.0), (4, 60.0), (5, 60.0), (100, 60.0), (10**9, 60.0)]
)
def test_the_window_grows_threefold_from_one_second_to_a_minute(attempt: int, longest: float) -> None:
    assert Backoff().window(attempt) == (1.0, longest)


@pytest.mark.parametrize("attempt", [1, 2, 3, 4, 50])
def test_a_delay_is_spread_over_its_whole_window(attempt: int) -> None:
    chance = random.Random(attempt)
    low, high = Backoff().window(attempt)
    delays = [Backoff().delay(attempt, chance.uniform) for _ in range(2000)]
    assert low <= min(delays) < low + (high - low) / 50
    assert high - (high - low) / 50 < max(delays) <= high
    assert mean(delays) == pytest.approx((low + high) / 2, rel=0.05)


def test_two_processes_do_not_draw_the_same_delays_by_default() -> None:
    assert len({Backoff().delay(4) for _ in range(100)}) > 90


def test_a_kind_may_have_a_window_of_its_own() -> None:
    slow = Backoff(base_seconds=10, cap_seconds=3600, factor=2)
    assert [slow.window(attempt) for attempt in (1, 2, 9)] == [(10, 20), (10, 40), (10, 3600)]


def test_a_constant_delay_is_a_window_without_width() -> None:
    assert Backoff(base_seconds=5, cap_seconds=5, factor=1).delay(3) == 5


def test_an_attempt_before_the_first_counts_as_the_first() -> None:
    assert Backoff().window(0) == Backoff().window(-1) == Backoff().window(1)


@pytest.mark.parametrize(
    "numbers",
    [(-1, 60, 3), (2, 1, 3), (1, 60, 0.5), (1, 60, 1e9), (float("nan"), 60, 3), (1, float("inf"), 3)],
)
def test_numbers_that_make_no_window_are_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError):
        Backoff(*numbers)
