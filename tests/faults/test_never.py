"""Nothing is 0 that nobody looked at."""

import pytest
from faults.harness import clients, history, lines, never

from bench.each_fault import FAULTS

_RIGHT = dict.fromkeys([*clients.NEVER, *history.NEVER], 0)


@pytest.mark.parametrize("name", _RIGHT)
def test_a_figure_that_is_wrong_or_absent_is_no_sound_one(name: str) -> None:
    assert clients.sound(_RIGHT) == _RIGHT
    with pytest.raises(AssertionError, match=f"'{name}': 1"):
        clients.sound({**_RIGHT, name: 1})
    with pytest.raises(AssertionError, match=f"'{name}': None"):
        clients.sound({each: 0 for each in _RIGHT if each != name})


@pytest.mark.parametrize("name", sorted(never.OWN))
def test_a_fault_fails_on_what_only_it_has(name: str) -> None:
    with pytest.raises(AssertionError, match=f"'{name}': 2"):
        history.faultless({**_RIGHT, name: 2})


def test_every_figure_of_a_single_fault_is_asked_of_one() -> None:
    asked = set().union(*(each.never for each in (*FAULTS.values(), *lines.SCENES.values())))
    assert asked == {*clients.NEVER, *history.NEVER, *never.OWN, *never.AS_EXPECTED}


def test_every_fault_says_what_it_looks_at() -> None:
    assert all("lost" in fault.never for name, fault in FAULTS.items() if "it loses" not in name)


@pytest.mark.parametrize(("bound", "value"), [("n <= 2", 2), ("n >= 95", 95.5), ("n > 0", 1)])
def test_a_bound_holds_for_what_keeps_it(bound: str, value: float) -> None:
    assert never.holds({"n": value}, bound)


@pytest.mark.parametrize(("bound", "value"), [("n <= 2", 2.01), ("n >= 95", 94.9), ("n > 0", 0)])
def test_a_bound_does_not_hold_for_what_breaks_it(bound: str, value: float) -> None:
    assert not never.holds({"n": value}, bound)


def test_no_bound_holds_for_a_figure_that_is_not_there() -> None:
    assert not never.holds({"m": 1}, "n <= 2")


@pytest.mark.parametrize("bound", sorted({bound for fault in FAULTS.values() for bound in fault.held_to}))
def test_every_bound_is_one(bound: str) -> None:
    assert {never.holds({bound.split()[0]: value}, bound) for value in (-1e9, 1e9)} == {True, False}
