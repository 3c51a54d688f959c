"""Does all hold at whatever line a process dies? `python -m bench.every_line`

Every line of our own code that the loop of a worker runs while it registers and works through two jobs, each time that
it is run, is a failpoint; and so is every line that the loop of a steward runs, from its beginning until it has cleared
up after a worker that died with others' jobs in its hands. There the process dies by SIGKILL. Nothing of it is in the
product: the failpoints are planted from outside. The jobs go on; then none may be lost or settled twice, have run more
often than it was claimed, or been charged for the death of another, and a follow-up is there once. Lines that are not
come to again cannot kill; if those are many, that ends the bench with an error, as does anything that is wrong.
"""

import sys

from bench import cases, database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness import lines, never
from faults.harness.arena import Arena
from support.database import Databases
from support.server import in_reachable_folder


def _row(name: str, databases: Databases, points: int, seed: int, found: report.Report) -> list[str]:
    scene = lines.SCENES[name]
    with in_reachable_folder() as folder, databases.migrated() as url, Arena(url, folder) as arena:
        figures = scene.run(arena, points, seed)
    wrong = never.wrong(figures, scene.never)
    missed = [bound for bound in scene.bounds if not never.holds(figures, bound)]
    found.add(
        {"process and its jobs": name},
        {
            "lines": figures["points"],
            "died there": figures["killed"],
            "jobs": figures["jobs"],
            "claims": figures["claims"],
            "handlers begun": figures["starts"],
            "lost": figures["lost"],
            "wrong": sum(each != "lost" for each in wrong),
            "looked at": len(never.looked_at(figures, scene.never)),
        },
    )
    return [f"{name}: {wrong}, missed {missed} in {figures}"] if wrong or missed else []


def main() -> None:
    """Prints a line per process and kind of job."""
    asked = report.asked(__doc__, (1, 1), points=(1_000_000, 2), seed=(1, 1))
    found = report.Report("every_line", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        databases = Databases(server.url)
        wrong = cases.carry_out(lines.SCENES, lambda name: _row(name, databases, asked.points, asked.seed, found))
        databases.close()
    cases.finish(found, wrong)


if __name__ == "__main__":
    main()
