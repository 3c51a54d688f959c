"""Figures that are 0 whatever was done, and those that have bounds: none may be otherwise, and none go unlooked at."""

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

OWN = frozenset(
    {
        "attempts_beyond_one_a_kill",
        "attempts_miscounted",
        "attempts_spent",
        "attempts_spent_on_give_backs",
        "exits_past_their_time",
        "failed",
        "ids_or_bodies_that_changed",
        "jobs_nobody_asked_for",
        "keys_with_two_answers",
        "keys_with_two_jobs",
        "leases_lost",
        "message_ids_that_changed",
        "not_both_or_neither",
        "not_delivered",
        "not_sent",
        "processes_that_exited",
        "received_twice_without_a_reason",
        "repeated_without_a_reason",
        "settled_on_the_old_primary",
        "started_before_run_at",
        "stranded",
        "told_of_a_settle_that_is_not_there",
        "uncounted_without_reason",
        "workers_taken_for_lost",
    }
)
"""Those of single faults. What the histories and the clients' ledgers say of every fault is named there."""

AS_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "one_job_a_key": lambda figures: figures["one_job_a_key"] is True,
    "jobs_and_keys": lambda figures: len(set(figures["jobs_and_keys"])) == 1,
    "held": lambda figures: bool(figures["held"] == figures["cases"]),
    "attempts_of_its_job": lambda figures: bool(figures["attempts_of_its_job"] == 1),
}
"""Those of which another value than 0 is the right one."""

_HOW = {"<=": operator.le, ">=": operator.ge, ">": operator.gt}


def looked_at(figures: Mapping[str, Any], names: Collection[str]) -> set[str]:
    """Which figures there are that have one right value: those of `names`, and of single faults."""
    return {*names, *OWN, *AS_EXPECTED} & figures.keys()


def wrong(figures: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Those that are not what they must be; one of `names` that is not there is None."""
    found: dict[str, Any] = dict.fromkeys(sorted(set(names) - figures.keys()))
    for name in sorted(looked_at(figures, names)):
        right = AS_EXPECTED[name](figures) if name in AS_EXPECTED else figures[name] == 0
        if not right:
            found[name] = figures[name]
    return found


def holds(figures: Mapping[str, Any], bound: str) -> bool:
    """Whether a figure is there and keeps a bound such as `seconds_most <= 2`."""
    name, how, limit = bound.split()
    return name in figures and bool(_HOW[how](figures[name], float(limit)))


def checked(figures: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The figures, after none was wrong."""
    found = wrong(figures, names)
    assert not found, f"{found} in {figures}"
    return figures
