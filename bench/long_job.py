"""How long does a short job wait behind a long one? `python -m bench.long_job --seconds 30`

A steady trickle of jobs of 1 ms has taught the pool to take many at a time; then two hundred more come at once with one
of the same kind in their midst that takes 30 s. Whichever worker takes that one may hold short ones it has
not started: they should not wait for it while other workers are idle. Waits are from the enqueue's return to the
handler's start.
"""

import time

from bench import database, processes, report, stamps
from bench.pickup import at
from bench.pool import Pool
from sql import hints, jobs


def measure(server: database.Server, workers: int, seconds: float, gap: float, crowd: int) -> dict[str, float]:
    """The numbers of one round."""
    short = database.new_job("bench_stamp", '{"ms": 1}')
    long = database.new_job("bench_stamp", f'{{"ms": {seconds * 1000}}}')
    among = [short] * (crowd // 2) + [long] + [short] * (crowd // 2)
    sent: dict[str, int] = {}
    with server.fresh() as url, stamps.collected() as noted, Pool(url, workers, **noted.variables) as pool:
        pool.wait_until_ready()
        conn = database.open_connection(url)

        def enqueue(batch: list[jobs.NewJob]) -> None:
            made = jobs.enqueue(conn, batch)
            returned = time.monotonic_ns()
            hints.hint(conn, len(batch))
            sent.update((one.id, returned) for one, job in zip(made, batch, strict=True) if job is short)

        begin = time.monotonic()
        crowd_at, end = begin + min(2.0, seconds), begin + min(2.0, seconds) + seconds
        came = False
        while time.monotonic() < end:
            if not came and time.monotonic() >= crowd_at:
                enqueue(among)
                came = True
            enqueue([short])
            processes.rest(gap)
        pool.wait_until_drained()
        conn.close()
        started = noted.read()
    waits = sorted((started[job].monotonic - returned) / 1e6 for job, returned in sent.items())
    return {"longest wait ms": waits[-1], "p99 ms": at(waits, 99), "p50 ms": at(waits, 50), "short jobs": len(waits)}


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, workers=(4, 4), seconds=(30.0, 0.5), gap_ms=(5, 5), crowd=(200, 20))
    found = report.Report("long_job", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            numbers = measure(server, asked.workers, asked.seconds, asked.gap_ms / 1000, asked.crowd)
            found.add({"long job": f"{asked.seconds:g} s", "workers": asked.workers}, numbers)
    found.finish()


if __name__ == "__main__":
    main()
