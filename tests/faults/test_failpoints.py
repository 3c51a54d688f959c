"""A process dies at any line of its own code: what it held goes on from there and ends once."""

import os
import random
import signal

import pytest
from faults.harness import lines, never
from faults.harness.arena import Arena
from faults.harness.failpoints import Failpoints, Line
from support.processes import ROOT
from support.tables import ended, put_one
from support.waiting import until

# Of some 2,000 each; `bench.every_line` leaves out none.
POINTS = 8


@pytest.mark.parametrize("name", lines.SCENES)
def test_death_at_any_line_loses_nothing_and_charges_no_other(arena: Arena, name: str) -> None:
    scene = lines.SCENES[name]
    figures = never.checked(scene.run(arena, POINTS, random.getrandbits(32)), scene.never)
    assert all(never.holds(figures, bound) for bound in scene.bounds), figures


@pytest.mark.parametrize(
    ("line", "runs"), [("ended = time.monotonic()", 2), ("if ended >= self._settlement.due_at:", 1)]
)
def test_a_job_runs_again_exactly_if_the_board_does_not_know_its_end(arena: Arena, line: str, runs: int) -> None:
    failpoints = Failpoints("worker", arena.folder / "failpoints")
    pool = arena.pool(worker_processes=1, **failpoints.environ()).ready()
    ended(arena.connection, put_one(arena.connection, "note"))
    [point] = [each for each in failpoints.ran() if each.file == "workerpool/worker.py" and _text(each) == line]
    failpoints.plant([point])
    # Its next one takes the point along with the first job there is.
    [worker] = pool.workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: failpoints.taken() == 1)
    job_id = put_one(arena.connection, "note")
    job = ended(arena.connection, job_id)
    first, *others = arena.effects.all("ran", [job_id])
    assert (job.status, job.attempts, len(others)) == ("succeeded", runs, runs - 1)
    until(lambda: failpoints.taken() == 2, message="who took the point has died")
    assert first.pid not in pool.workers()


def _text(point: Line) -> str:
    return (ROOT / point.file).read_text().splitlines()[point.line - 1].strip()
