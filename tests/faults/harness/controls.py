"""Storms with a defect planted: each must be found, by the sign that belongs to it."""

from dataclasses import dataclass

from faults.harness.defects import DEFECTS
from faults.harness.faults import FAULTS
from faults.harness.storm import Outcome, Plan, storm


@dataclass(frozen=True)
class Control:
    """`found` are the problems that name the defect."""

    name: str
    what: str
    found: list[str]
    outcome: Outcome

    @property
    def caught(self) -> bool:
        return bool(self.found)


def control(name: str, seed: int = 1, seconds: float = 6.0) -> Control:
    """One storm, of the faults that bring this defect to light."""
    defect = DEFECTS[name]
    plan = Plan(
        seed,
        seconds,
        kinds={fault: FAULTS[fault] for fault in defect.faults},
        gap=0.2,
        pause=0.03,
        holders=6,
        defect=name,
        # Some of them leave jobs behind for ever.
        drain_seconds=10.0,
    )
    outcome = storm(plan)
    found = [problem for problem in outcome.verdict.problems if defect.sign in problem]
    return Control(name, defect.what, found, outcome)
