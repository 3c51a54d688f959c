"""Does a finished job run again when its worker is killed? `python -m bench.kills --kills 1000`

Workers are killed with SIGKILL at random instants while they work through no-op jobs, hundreds of which are finished
and not yet written at any moment; each start of a handler is a line in a file. A kill may hit one handler that had
begun and not ended: that job has to run again, and its line is the last that worker wrote. Whatever else ran twice had
been finished: that, like a job lost, ends the bench with an error.
"""

import os
import random
import signal
from collections.abc import Sequence

from bench import database, processes, report, stamps
from bench.pool import Pool
from sql import hints
from sql.connection import Connection

_JOB = database.new_job("bench_stamp", '{"ms": 0}')._replace(max_attempts=100)
_WAITING = "select count(*) from (select from windlass.ready limit %(limit)s) as waiting"
_SUCCEEDED = "select count(*), sum(attempts) - count(*) from windlass.done where status = 'succeeded'"


def top_up(conn: Connection, backlog: int) -> int:
    """Keeps so many jobs waiting; how many were added."""
    row = conn.fetch_one(_WAITING, limit=backlog)
    assert row is not None
    missing = backlog - int(row[0])
    if missing > backlog // 2:
        database.enqueue(conn, missing, _JOB)
        hints.hint(conn, missing)
        return missing
    return 0


def ran_though_finished(runs: Sequence[stamps.Run]) -> list[str]:
    """Jobs that ran again though no kill can have hit the run before."""
    last_of_job = {run.job: run for run in runs}
    last_of_worker = {run.pid: run for run in runs}
    return [run.job for run in runs if run is not last_of_job[run.job] and run is not last_of_worker[run.pid]]


def kill_one(pool: Pool) -> bool:
    """False when none was there to be killed."""
    living = pool.worker_pids()
    try:
        os.kill(random.choice(living), signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return False
    return True


def measure(server: database.Server, kills: int, workers: int, pause: float, backlog: int) -> dict[str, float]:
    """The numbers of one round."""
    enqueued = done = 0
    with server.fresh() as url, stamps.collected() as noted, Pool(url, workers, silent=True, **noted.variables) as pool:
        conn = database.open_connection(url)
        while pool.lives() and done < kills:
            enqueued += top_up(conn, backlog)
            processes.rest(random.uniform(0, pause))
            done += kill_one(pool)
        pool.wait_until_drained()
        succeeded, spent = conn.fetch_one(_SUCCEEDED) or (0, 0)
        conn.close()
        runs = noted.runs()
    if again := ran_though_finished(runs):
        raise SystemExit(f"{len(again)} finished jobs ran again, the first of them {again[0]}")
    if lost := enqueued - int(succeeded):
        raise SystemExit(f"{lost} of {enqueued} jobs did not succeed")
    return {
        "kills": done,
        "jobs": enqueued,
        "lost": lost,
        "finished ones run again": len(again),
        "cut short, and run again": len(runs) - enqueued,
        "attempts spent": int(spent),
    }


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(
        __doc__, rounds=(1, 1), kills=(1000, 4), workers=(4, 2), pause_ms=(100, 50), backlog=(20_000, 2_000)
    )
    found = report.Report("kills", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            numbers = measure(server, asked.kills, asked.workers, asked.pause_ms / 1000, asked.backlog)
            found.add({"workers": asked.workers}, numbers)
    found.finish()


if __name__ == "__main__":
    main()
