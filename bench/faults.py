"""Is anything lost, whatever dies? `python -m bench.faults --storms 6 --seconds 90`

A storm is everything at once: clients that enqueue in every way there is, pools, workers over HTTP, and faults from a
seed, several at a time, over all of them and PostgreSQL. Each request is written down before it is sent, and its answer
after; each effect is told to a server outside; each change of a job's state is written by a trigger. When the last
fault is over the queue drains, all leave, and a checker holds the four against each other. That it would find what it
looks for is the subject of `bench.controls`. What ran again although it had begun is laid to what was done to its
worker or its worker's pool, else to what was done to everybody, while it was there to be lost: to one fault, or to the
few that went on at the same time.

`--seed S --storms 1` makes the storm of that seed again: the same faults, of the same lengths, at the same distances
(`--gap` seconds on average, at most `--at-once` at a time).
"""

import argparse
import sys
from collections import Counter

from bench import report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness.storm import Outcome, Plan, storm

# The first of these must all be 0.
_ZEROS = (
    "lost",
    "phantom",
    "jobs too many for a key",
    "double-settled",
    "ended by a stranger",
    "stale settles accepted",
    "resurrected",
    "ended twice or illegally",
    "over-attempted",
    "started before run_at",
    "claimed while paused",
    "started after the lease was lost",
    "stuck",
    "stranded after TERM",
    "deadlocks",
    "tracebacks in logs",
    "without a cause",
)
_LOAD = ("attempted", "accepted", "unknown", "unknown and there", "settles over HTTP", "duplicate effects")
_TIMES = (
    "taken back from the dead, p50 s",
    "taken back from the dead, p99 s",
    "slowest recovery, s",
    "drained after healing, s",
)


def asked() -> argparse.Namespace:
    """The command line."""
    return report.asked(
        __doc__,
        (1, 1),
        seed=(1, 1),
        storms=(6, 1),
        seconds=(90.0, 3.0),
        clients=(4, 1),
        pause=(0.025, 0.05),
        at_once=(4, 3),
        gap=(0.2, 0.3),
    )


def plans(given: argparse.Namespace) -> list[Plan]:
    """The storms that are asked for."""
    return [
        Plan(
            given.seed + number,
            given.seconds,
            clients=given.clients,
            pause=given.pause,
            at_once=given.at_once,
            gap=given.gap,
            drain_seconds=300,
        )
        for number in range(given.storms)
    ]


def main() -> None:
    """Prints what came of each storm; ends with an error if any of them found anything."""
    given = asked()
    found = report.Report("faults", given)
    outcomes = [_storm(plan, found) for plan in plans(given)]
    _in_all(outcomes, found)
    found.finish()
    if problems := [problem for outcome in outcomes for problem in outcome.verdict.problems]:
        raise SystemExit("\n".join(problems))


def _storm(plan: Plan, found: report.Report) -> Outcome:
    outcome = storm(plan, found.server)
    print(outcome.text, flush=True)
    facts = {"faults": len(outcome.injected), "kinds": len(outcome.kinds), "overlapping": outcome.overlapping}
    figures = outcome.verdict.figures
    found.add({"seed": plan.seed}, {**facts, **{name: figures[name] for name in _LOAD}}, "Storms")
    found.add({"seed": plan.seed}, {name: figures[name] for name in _TIMES}, "How soon after")
    return outcome


def _in_all(outcomes: list[Outcome], found: report.Report) -> None:
    totals: Counter[str] = Counter()
    for outcome in outcomes:
        totals.update({name: int(outcome.verdict.figures[name]) for name in (*_LOAD, *_ZEROS)})
        totals["faults"] += len(outcome.injected)
        totals["overlapping"] += outcome.overlapping
    for name in ("faults", "overlapping", *_LOAD, *_ZEROS):
        found.add({"in all": name}, {"count": totals[name]}, "In all")
    for name, count in sorted(sum((outcome.kinds for outcome in outcomes), Counter()).items()):
        found.add({"fault": name.replace("_", " ")}, {"injected": count}, "Faults")
    _repeated(sum((outcome.verdict.duplicates for outcome in outcomes), Counter()), found)


def _repeated(duplicates: Counter[tuple[str, frozenset[str]]], found: report.Report) -> None:
    """A row for each fault that can have repeated effects: alone, or among others that went on at the same time."""
    alone: Counter[tuple[str, str]] = Counter()
    among: Counter[tuple[str, str]] = Counter()
    for (cause, faults), count in duplicates.items():
        for fault in faults:
            (alone if len(faults) == 1 else among)[cause, fault] += count
    for cause, fault in sorted({*alone, *among}):
        case = {"an attempt had begun, and": cause, "by": fault.replace("_", " ")}
        numbers = {"effects repeated": alone[cause, fault], "or by others": among[cause, fault]}
        found.add(case, numbers, "What repeated effects")


if __name__ == "__main__":
    main()
