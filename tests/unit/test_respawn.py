"""Rules of the respawn brake."""

from workerpool.respawn import Brake


def _fail(brake: Brake, now: float) -> float:
    """One child starts now and dies at once, not ready; seconds until the next may start."""
    brake.failed(started_at=now, now=now)
    return brake.open_at - now


def test_nothing_is_held_before_a_failure() -> None:
    assert not Brake().holds(0.0)


def test_the_delay_doubles_with_each_failure_up_to_its_cap() -> None:
    brake = Brake(first=1.0, cap=10.0)
    delays, now = [], 100.0
    for _ in range(6):
        delays.append(_fail(brake, now))
        now = brake.open_at
    assert delays == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_it_holds_until_the_delay_is_over_and_no_longer() -> None:
    brake = Brake(first=1.0)
    _fail(brake, 100.0)
    assert brake.holds(100.0)
    assert brake.holds(100.9)
    assert not brake.holds(101.0)


def test_a_child_that_gets_ready_ends_it() -> None:
    brake = Brake(first=1.0)
    _fail(brake, 100.0)
    _fail(brake, 200.0)
    brake.ready()
    assert not brake.holds(200.0)
    assert _fail(brake, 300.0) == 1.0


def test_children_started_together_and_dying_together_count_once() -> None:
    brake = Brake(first=1.0)
    for n in range(64):
        brake.failed(started_at=100.0, now=100.5 + n / 1000)
    assert brake.open_at == 101.5
    brake.failed(started_at=101.5, now=101.6)
    assert brake.open_at == 103.6


def test_a_loop_of_years_does_not_overflow() -> None:
    brake = Brake(cap=30.0)
    now = 0.0
    for _ in range(5000):
        assert _fail(brake, now) <= 30.0
        now = brake.open_at
