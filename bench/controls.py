"""Would it be found? `python -m bench.controls`

Storms as those of `bench.faults`, and scenes of `bench.each_fault`, with a defect planted that other queues have had,
or on a server that is not safe. Each must be found, by the sign that belongs to it; otherwise the zeros of those two
mean nothing. The server is the storm's own.
"""

import sys
import traceback

from bench import database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness.controls import CONTROLS, control


def main() -> None:
    """Prints a line per control; ends with an error if one was not found."""
    asked = report.asked(__doc__, (1, 1), seed=(1, 1), controls=(",".join(CONTROLS), "notify_in_the_transaction"))
    found = report.Report("controls", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
    missed = [name for name in asked.controls.split(",") if not _control(name, asked.seed, found)]
    found.add({"in all": "controls"}, {"planted": len(asked.controls.split(",")), "not found": len(missed)}, "In all")
    found.finish()
    if missed:
        raise SystemExit(f"planted and not found: {', '.join(missed)}")


def _control(name: str, seed: int, found: report.Report) -> bool:
    try:
        planted = control(name, seed)
    except Exception:
        # Trouble on the way is not what the control is to be found by, and the others are asked all the same.
        traceback.print_exc()
        return False
    how = planted.sign.replace("_", " ") if planted.caught else "NOT FOUND"
    case = {"control": name.replace("_", " "), "what is wrong": planted.what, "found as": how}
    found.add(case, {"problems named": len(planted.problems)}, "Controls")
    return planted.caught


if __name__ == "__main__":
    main()
