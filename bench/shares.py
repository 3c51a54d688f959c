"""Whose is the time of a job that does nothing? `python -m bench.shares --jobs 300000 --workers 2`

Microseconds of a core that a job takes: of the worker processes, and of PostgreSQL's processes that serve them, from a
tenth of the jobs to nine tenths. *the pool* is the real one; *its statement alone* is the same statement sent by as
many processes that do nothing else, each batch acked with the claim of the next: what stands between the two is the
dispatcher, a third of it the check of the payload. Cores ÷ (both together) is what can be drained at most; beside them
stands how many cores these processes used. The server must be on this machine.
"""

import multiprocessing
import time
from typing import NamedTuple

from bench import database, processes, rates, report
from bench.pool import Pool
from sql import leases, workers
from sql.connection import Connection
from sql.leases import START, Pick
from workerpool.board import ENTRIES

_KIND = database.new_job().kind
_BACKENDS = "select pid from pg_stat_activity where datname = current_database() and application_name like %(name)s"
_FORK = multiprocessing.get_context("fork")


class Mark(NamedTuple):
    """A moment: the time, the jobs begun, and the seconds of a core used by then."""

    at: float
    jobs: int
    workers: float
    server: float

    def since(self, other: "Mark") -> dict[str, float]:
        """What happened between."""
        # A handful of jobs is through before anybody looks.
        jobs, seconds = max(1, self.jobs - other.jobs), max(1e-6, self.at - other.at)
        ours, theirs = self.workers - other.workers, self.server - other.server
        return {
            "jobs/s": jobs / seconds,
            "worker µs": ours / jobs * 1e6,
            "PostgreSQL µs": theirs / jobs * 1e6,
            "cores in use": (ours + theirs) / seconds,
        }


def _backends(conn: Connection, name: str) -> list[int]:
    return [pid for (pid,) in conn.fetch_all(_BACKENDS, name=name)]


def of_the_pool(server: database.Server, jobs: int, count: int) -> dict[str, float]:
    """The real pool's numbers."""
    with server.fresh() as url:
        database.fill(url, jobs)
        database.calm(url)
        conn = database.open_connection(url)
        with Pool(url, count) as pool:
            pool.wait_until_ready()
            pids, backends = pool.worker_pids(), _backends(conn, "windlass worker %")

            def mark(share: float) -> Mark:
                processes.wait_for(lambda: pool.lives() and pool.begun() >= share * jobs, 600, "jobs are begun", 0.005)
                used = processes.cpu_seconds(pids), processes.cpu_seconds(backends)
                return Mark(time.monotonic(), pool.begun(), *used)

            first, last = mark(0.1), mark(0.9)
            pool.wait_until_drained()
        conn.close()
        rates.span(url, jobs)
    return last.since(first)


def _send(url: str, number: int, ready: "multiprocessing.synchronize.Barrier") -> tuple[Mark, Mark]:
    conn = database.open_connection(url)
    terms = {"name": "shares", "host": "", "pid": 0, "pool": "shares", "slot": number}
    worker = workers.register(conn, lease_seconds=600, **terms)
    row = conn.fetch_one("select pg_backend_pid()")
    assert row is not None

    def mark(jobs: int) -> Mark:
        return Mark(time.monotonic(), jobs, time.process_time(), processes.cpu_seconds([row[0]]))

    pick, kept, done = Pick(_KIND, 0, *START), list[tuple[tuple[str, int], None]](), 0
    ready.wait(60)
    first = mark(0)
    while True:
        done += len(kept)
        terms = {"queue": "default", "picks": [pick], "limit": ENTRIES, "worker_id": worker}
        claimed = leases.ack_and_claim(conn, kept, **terms)[1] if kept else leases.claim(conn, **terms)
        if not claimed:
            break
        pick = Pick(_KIND, 0, claimed[-1].run_at, claimed[-1].id)
        kept = [((job.id, job.fence), None) for job in claimed]
    last = mark(done)
    conn.close()
    return first, last


def of_the_statement(server: database.Server, jobs: int, count: int) -> dict[str, float]:
    """The same of the statement alone."""
    with server.fresh() as url:
        database.fill(url, jobs)
        database.calm(url)
        with _FORK.Manager() as manager, _FORK.Pool(count) as crew:
            ready = manager.Barrier(count)
            marks = crew.starmap(_send, [(url, number, ready) for number in range(count)], chunksize=1)
        rates.span(url, jobs)
    firsts, lasts = zip(*marks, strict=True)
    first = Mark(min(mark.at for mark in firsts), 0, *(sum(column) for column in list(zip(*firsts, strict=True))[2:]))
    last = Mark(max(mark.at for mark in lasts), *(sum(column) for column in list(zip(*lasts, strict=True))[1:]))
    return last.since(first)


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, jobs=(300_000, 3_000), workers=(2, 2))
    found = report.Report("shares", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            for what, measure in {"the pool": of_the_pool, "its statement alone": of_the_statement}.items():
                found.add({"of": what, "workers": asked.workers}, measure(server, asked.jobs, asked.workers))
    found.finish()


if __name__ == "__main__":
    main()
