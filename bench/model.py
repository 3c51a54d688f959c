"""In how many states do the invariants hold? `python -m bench.model --walks 1000`

A model of two jobs, two workers of a pool, a client over HTTP and two attempts, every state of it looked at: claim,
start, extend, pause, expire, rescue, settle, crash, release and cancel in any order (invariants 3 to 6, and that all
comes to an end). Each defect planted in the model has to be found by its own invariant. Then the product's statements
are walked beside it, on PostgreSQL: every move of a smaller instance, and seeded walks through larger ones in which any
answer may be lost. A difference ends the bench with an error.
"""

import sys

from bench import database, report
from bench.processes import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from faults.harness.model.summary import LARGE, WHOLE, summary


def main() -> None:
    """Prints a line per figure."""
    asked = report.asked(__doc__, (1, 1), jobs=(LARGE.jobs, 1), pool_workers=(LARGE.pool_workers, 0), walks=(1000, 1))
    found = report.Report("model", asked)
    with database.server(asked.bin_dir) as server, server.fresh() as url:
        found.server(server.url)
        conn = database.open_connection(url)
        large = LARGE._replace(jobs=asked.jobs, pool_workers=asked.pool_workers)
        whole = WHOLE._replace(pool_workers=min(WHOLE.pool_workers, asked.pool_workers))
        for figure, value in summary(conn, large, whole, asked.walks).items():
            found.add({"model": figure}, {"count": value})
        conn.close()
    found.finish()


if __name__ == "__main__":
    main()
