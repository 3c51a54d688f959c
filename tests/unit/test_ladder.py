"""Rules of one child's way out."""

from signal import SIGKILL, SIGQUIT, SIGTERM

from workerpool.ladder import Ladder


def test_term_comes_at_once_quit_after_the_grace_and_kill_two_seconds_later() -> None:
    ladder = Ladder(100.0, grace=25.0)
    assert ladder.due(100.0) == [SIGTERM]
    assert ladder.due(124.9) == []
    assert ladder.due(125.0) == [SIGQUIT]
    assert ladder.due(126.9) == []
    assert ladder.due(127.0) == [SIGKILL]


def test_each_comes_once() -> None:
    ladder = Ladder(100.0, grace=25.0)
    assert ladder.due(500.0) == [SIGTERM, SIGQUIT, SIGKILL]
    assert ladder.due(501.0) == []


def test_hurry_goes_on_to_quit_at_once_and_to_kill_two_seconds_later() -> None:
    ladder = Ladder(100.0, grace=25.0)
    ladder.due(100.0)
    ladder.hurry(110.0)
    assert ladder.due(110.0) == [SIGQUIT]
    assert ladder.due(111.9) == []
    assert ladder.due(112.0) == [SIGKILL]


def test_hurry_gives_no_more_time_to_one_that_was_told_to_quit() -> None:
    ladder = Ladder(100.0, grace=25.0)
    ladder.due(125.0)
    ladder.hurry(126.5)
    assert ladder.due(127.0) == [SIGKILL]
    ladder.hurry(128.0)
    assert ladder.due(200.0) == []
