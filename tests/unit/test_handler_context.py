"""What a handler sees of its job."""

from datetime import UTC, datetime, timedelta

import pytest
from support.handlers import a_run

from workerpool.outcomes import Cancelled


def test_check_cancelled_raises_once_the_flag_is_up_and_not_before() -> None:
    flags = [False]
    run = a_run(is_cancelled=lambda: flags[0])
    run.context.check_cancelled()
    flags[0] = True
    with pytest.raises(Cancelled):
        run.context.check_cancelled()


def test_progress_reaches_whoever_runs_the_handler() -> None:
    run = a_run()
    run.context.progress({"percent": 5})
    run.context.progress([1, 2])
    assert run.reports == [{"percent": 5}, [1, 2]]


def test_the_time_that_remains_never_falls_below_zero() -> None:
    assert 29 < a_run(seconds=30).context.remaining() <= 30
    assert a_run(seconds=-5).context.remaining() == 0


@pytest.mark.parametrize("run_at", ["2024-07-11 14:00:00+02", "2024-07-11T12:00:00.000Z", "2024-07-11 12:00:00.0+00"])
def test_the_time_is_the_databases_whatever_this_machines_clock_says(run_at: str) -> None:
    context = a_run(waited_seconds=3600.5, run_at=run_at).context
    first, second = context.now(), context.now()
    assert timedelta(0) <= first - datetime(2024, 7, 11, 13, 0, 0, 500_000, tzinfo=UTC) < timedelta(seconds=1)
    assert second >= first
    assert first.tzinfo is UTC


@pytest.mark.parametrize(("attempt", "most", "last"), [(1, 3, False), (2, 3, False), (3, 3, True), (1, 1, True)])
def test_the_last_attempt_knows_that_it_is(attempt: int, most: int, last: bool) -> None:
    context = a_run(attempt=attempt, max_attempts=most).context
    assert (context.attempt, context.last_attempt) == (attempt, last)
