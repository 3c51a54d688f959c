"""Does all hold wherever a connection is cut? `python -m bench.every_message`

A proxy between us and the server reads PostgreSQL's protocol. Each operation is played once to count its messages, then
once for every message of both sides, before and after it passed, with FIN and with RST: there its connection ends. The
operation is repeated as the product, or a client with its key or token, repeats it; then no job may be lost or doubled,
each is in exactly one state, with the attempts and the outcome it should have, nothing is held by nobody, and a settle
sent once more is answered as before. A point at which one of these failed is printed, and ends the bench with an error.
"""

import socket
import sys

from bench import database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness.operations import OPERATIONS
from faults.harness.points import points
from support.database import Databases


def main() -> None:
    """Prints a line per operation."""
    asked = report.asked(__doc__, (1, 1), operations=(len(OPERATIONS), 2))
    found = report.Report("every_message", asked)
    every = held = 0
    failed = []
    # Over TCP, since a unix socket knows no RST.
    with database.server(asked.bin_dir, tcp_port=None if asked.smoke else _free_port()) as server:
        found.server(server.url)
        databases = Databases(server.url)
        for row in points(databases, list(OPERATIONS)[: asked.operations], thorough=True):
            every, held = every + row["points"], held + row["held"]
            failed += [f"{row['operation']}, {point}: {error}" for point, error in row["failed"]]
            found.add({"operation": row["operation"]}, {"points": row["points"], "held": row["held"]}, "Operations")
        databases.close()
    found.add({"operations": asked.operations}, {"points": every, "held": held}, "In all")
    found.finish()
    if failed:
        raise SystemExit("\n".join(failed))


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


if __name__ == "__main__":
    main()
