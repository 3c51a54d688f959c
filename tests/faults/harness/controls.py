"""Defects planted in the service, and servers that are not safe: each must be found, by the sign that belongs to it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faults.harness import deafness, failover, power
from faults.harness.defects import DEFECTS
from faults.harness.faults import FAULTS
from faults.harness.service import on_a_server
from faults.harness.storm import Plan, storm
from support.server import in_reachable_folder


@dataclass(frozen=True)
class Control:
    """`problems` are all that the checker named; those with the `sign` name the defect. `text` is for people."""

    what: str
    sign: str
    problems: Sequence[str]
    text: str

    @property
    def found(self) -> Sequence[str]:
        return [problem for problem in self.problems if self.sign in problem]

    @property
    def caught(self) -> bool:
        return bool(self.found)


def _by_a_storm(name: str, seed: int) -> Control:
    """One storm, of the faults that bring this defect to light."""
    defect = DEFECTS[name]
    plan = Plan(
        seed,
        defect.seconds,
        kinds={fault: FAULTS[fault] for fault in defect.faults},
        gap=0.2,
        pause=0.03,
        holders=6,
        defect=name,
        # Some of them leave jobs behind for ever.
        drain_seconds=10.0,
    )
    outcome = storm(plan)
    return Control(defect.what, defect.sign, outcome.verdict.problems, outcome.text)


def by_figures(what: str, sign: str, figures: Mapping[str, Any]) -> Control:
    """Found by one of the figures, and no other: by `sign`, if it is more than 0. Whatever else is wrong has another
    cause.
    """
    problems = [f"{sign}: {figures[sign]}"] if figures[sign] > 0 else []
    return Control(what, sign, problems, str(figures))


def _silent_acknowledgements(name: str) -> dict[str, Any]:
    with in_reachable_folder() as folder, failover.on_a_pair(folder, name) as (service, pair):
        return failover.silent_acknowledgements(service, pair, rounds=1)


def _full_notifications(name: str) -> dict[str, Any]:
    """Without the trigger the same must be accepted, or the failures have another reason."""
    figures: dict[str, Any] = {}
    for defect in ("", name):
        with in_reachable_folder() as folder, on_a_server(folder, defect) as service:
            figures = deafness.enqueues(service)
        assert defect or figures["accepted"] == figures["enqueues"], figures
    return figures


def _power_cut(**settings: str) -> dict[str, Any]:
    with in_reachable_folder() as folder:
        return power.unsafe(folder, **settings)


def _asynchronous_failover() -> dict[str, Any]:
    with in_reachable_folder() as folder, failover.on_a_pair(folder) as (service, pair):
        return failover.asynchronous_failovers(service, pair, rounds=1)


_SCENES = {"swallow_the_notice": _silent_acknowledgements, "notify_in_the_transaction": _full_notifications}
SERVERS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "fsync_off": ("commits are not written to the disk; then the power goes", lambda: _power_cut(fsync="off")),
    "synchronous_commit_off": (
        "commits are written a little later; then the power goes",
        lambda: _power_cut(synchronous_commit="off"),
    ),
    "asynchronous_standby": ("commits do not wait for the standby that takes over", _asynchronous_failover),
}
"""Servers that lose what was accepted, whatever the service does."""
CONTROLS = (*DEFECTS, *SERVERS)


def control(name: str, seed: int = 1) -> Control:
    """One of CONTROLS, carried out. Raises what kept it from being."""
    if name in SERVERS:
        what, figures = SERVERS[name]
        return by_figures(what, "lost", figures())
    if name in _SCENES:
        return by_figures(DEFECTS[name].what, DEFECTS[name].sign, _SCENES[name](name))
    return _by_a_storm(name, seed)
