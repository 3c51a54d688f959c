"""What does the queue take from handlers that need time? `python -m bench.handlers --workers 4`

Handlers sleep, so the limit is workers / duration. `bare` is how often as many processes with no queue at all come
through the same handler on this machine. Jobs per second are without the first and last tenth of the run, in which
workers start and run dry; the whole run stands beside it.
"""

import multiprocessing
import time

from bench import database, kinds, rates, report
from bench.pool import Pool


def bare(workers: int, milliseconds: float, seconds: float) -> float:
    """Calls per second of the handler in `workers` processes that do nothing else."""
    with multiprocessing.get_context("fork").Pool(workers) as processes:
        return sum(processes.starmap(_repeat, [(milliseconds, seconds)] * workers, chunksize=1))


def _repeat(milliseconds: float, seconds: float) -> float:
    began, calls = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        kinds.nap(milliseconds)
        calls += 1
    return calls / (time.monotonic() - began)


def measure(server: database.Server, workers: int, milliseconds: int, seconds: float) -> dict[str, float]:
    """The numbers of one round of about `seconds`."""
    limit = workers / milliseconds * 1000
    count = max(workers, int(limit * seconds))
    with server.fresh() as url:
        database.fill(url, count, database.new_job("bench_sleep", f'{{"ms": {milliseconds}}}'))
        database.calm(url)
        with Pool(url, workers) as pool:
            pool.wait_until_drained()
        whole, _ = rates.span(url, count)
        steady = rates.steady(url, count)
    loop = bare(workers, milliseconds, min(seconds, 3.0))
    return {
        "jobs/s": steady,
        "limit": limit,
        "% of the limit": 100 * steady / limit,
        "bare": loop,
        "% of bare": 100 * steady / loop,
        "whole run": whole,
    }


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, workers=(4, 2), milliseconds=((1, 20), (1, 20)), seconds=(10.0, 0.2))
    found = report.Report("handlers", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            for milliseconds in asked.milliseconds:
                numbers = measure(server, asked.workers, milliseconds, asked.seconds)
                found.add({"handler": f"{milliseconds} ms", "workers": asked.workers}, numbers)
    found.finish()


if __name__ == "__main__":
    main()
