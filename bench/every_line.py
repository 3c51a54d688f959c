"""Does all hold at whatever line a process dies? `python -m bench.every_line`

Every line of our own code that a worker runs from its birth through two jobs, each time that it is run, is a failpoint;
and every line that a steward runs while it clears up after workers that die, where it comes to it first and once later.
There the process dies by SIGKILL, and nothing of it is in the product: the failpoints are planted from outside. The
jobs go on; then none may be lost or settled twice, have run more often than it was claimed, or have been charged for
the death of another, and a retry or a follow-up is there once. *Missed* are lines that were not come to again.
"""

import sys

from bench import database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness import lines, never
from faults.harness.arena import Arena
from support.database import Databases
from support.server import in_reachable_folder

# If it were more, the scenes would not take the road that was counted.
_MOST_MISSED = 0.05


def main() -> None:
    """Prints a line per process and kind of job."""
    asked = report.asked(__doc__, (1, 1), points=(1_000_000, 2), seed=(1, 1))
    found = report.Report("every_line", asked)
    wrong = []
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        databases = Databases(server.url)
        for name, scene in lines.SCENES.items():
            with in_reachable_folder() as folder, databases.migrated() as url, Arena(url, folder) as arena:
                figures = scene(arena, asked.points, asked.seed)
            bad = never.wrong(figures, lines.NEVER)
            missed = figures["points"] - figures["killed"]
            found.add(
                {"process and its jobs": name},
                {
                    "points": figures["points"],
                    "missed": missed,
                    "jobs": figures["jobs"],
                    "claims": figures["claims"],
                    "effects repeated": figures["duplicate_starts"],
                    "lost": figures["lost"],
                    "wrong": sum(bad[each] or 0 for each in bad if each != "lost"),
                },
            )
            if bad or missed > _MOST_MISSED * figures["points"] + 1:
                wrong.append(f"{name}: {bad}, missed {missed} in {figures}")
        databases.close()
    found.finish()
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
