"""How fast are claim and ack alone, from one to sixteen processes? `python -m bench.barrier --jobs 2000`

The method of an earlier system's own bench: 2,000 jobs, processes released together by a barrier, each in a tight loop
of claim and ack without any work, until a shared count says that all is done; jobs / (barrier → last ack). No pool and
no handler are in it. One job a claim, as there, and batches as our workers take them.
"""

import multiprocessing
import statistics
import time
from multiprocessing.synchronize import Barrier
from typing import Any

from bench import database, rates, report
from sql import leases, workers
from sql.leases import START, Lease, Pick

_KIND = "summarize_text"
_PAYLOAD = '{"text": "A queue is a place where work waits. It waits for a worker. Then it is done."}'
_FORK = multiprocessing.get_context("fork")


def _work(url: str, jobs: int, limit: int, barrier: Barrier, count: Any, ended: Any) -> None:
    conn = database.open_connection(url)
    worker_id = workers.register(conn, name="barrier", host="", pid=0, pool="barrier", slot=0, lease_seconds=600)
    pick = Pick(_KIND, 0, *START)
    barrier.wait()
    while count.value < jobs:
        claimed = leases.claim(conn, queue="default", picks=[pick], limit=limit, worker_id=worker_id)
        if not claimed:
            continue
        acked = leases.ack(conn, worker_id, [(Lease(job.id, job.fence), None) for job in claimed])
        pick = Pick(_KIND, 0, claimed[-1].run_at, claimed[-1].id)
        with count.get_lock():
            count.value += len(acked)
            ended.value = time.monotonic()
    conn.close()


def measure(server: database.Server, jobs: int, processes: int, limit: int) -> float:
    """Jobs per second."""
    with server.fresh() as url:
        database.fill(url, jobs, database.new_job(_KIND, _PAYLOAD))
        database.calm(url)
        barrier, count, ended = _FORK.Barrier(processes + 1), _FORK.Value("q", 0), _FORK.Value("d", 0.0)
        crew = [_FORK.Process(target=_work, args=(url, jobs, limit, barrier, count, ended)) for _ in range(processes)]
        for process in crew:
            process.start()
        barrier.wait(60)
        began = time.monotonic()
        for process in crew:
            process.join()
        if any(process.exitcode for process in crew):
            raise SystemExit("a process of the bench failed")
        rates.span(url, jobs)
        return float(jobs / (ended.value - began))


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(
        __doc__, rounds=(5, 1), jobs=(2_000, 200), workers=((1, 2, 4, 8, 16), (1, 2)), batches=((1, 100), (1, 100))
    )
    found = report.Report("barrier", asked)
    lines: dict[str, list[tuple[float, float]]] = {}
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for limit in asked.batches:
            for processes in asked.workers:
                samples = [measure(server, asked.jobs, processes, limit) for _ in range(asked.rounds)]
                for rate in samples:
                    found.add({"jobs a claim": limit, "processes": processes}, {"jobs/s": rate})
                lines.setdefault(f"{limit} a claim", []).append((processes, statistics.mean(samples)))
    found.plot("barrier", title="Claim and ack alone", x="processes", y="jobs/s", lines=lines)
    found.finish()


if __name__ == "__main__":
    main()
