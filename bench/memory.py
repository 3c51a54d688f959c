"""How much memory does a worker hold, and does it grow? `python -m bench.memory --jobs 1000000`

Private memory of each worker, which would be free if it ended, while it drains preloaded no-op jobs; what it shares
with the others is not in it. `growth` is from the first tenth of the jobs to the last, of the worker that grew most.
"""

import statistics

from bench import database, processes, rates, report
from bench.pool import Pool

_EVERY_SECONDS = 0.2


def measure(server: database.Server, jobs: int, workers: int) -> list[tuple[int, list[float]]]:
    """(jobs begun, MiB of each worker), as it went."""
    samples = []
    with server.fresh() as url:
        database.fill(url, jobs)
        database.calm(url)
        with Pool(url, workers) as pool:
            pool.wait_until_ready()
            while True:
                begun, private = pool.begun(), pool.private_mib()
                samples.append((begun, private))
                if begun >= jobs:
                    break
                processes.rest(_EVERY_SECONDS)
            pool.wait_until_drained()
            samples.append((jobs, pool.private_mib()))
        rates.span(url, jobs)
    return samples


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, rounds=(1, 1), jobs=(1_000_000, 1_000), workers=(2, 2))
    found = report.Report("memory", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            samples = measure(server, asked.jobs, asked.workers)
            columns = list(zip(*(private for _, private in samples), strict=True))
            early = [position for position, (begun, _) in enumerate(samples) if begun <= asked.jobs / 10] or [0]
            late = [position for position, (begun, _) in enumerate(samples) if begun >= asked.jobs * 0.9]
            growth = [statistics.median(column[i] for i in late) - max(column[i] for i in early) for column in columns]
            numbers = {
                "most MiB": max(map(max, columns)),
                "at the end MiB": max(column[-1] for column in columns),
                "growth MiB": max(growth),
            }
            found.add({"jobs": asked.jobs, "workers": asked.workers}, numbers)
    lines = {
        f"worker {number + 1}": [(begun, private[number]) for begun, private in samples]
        for number in range(asked.workers)
    }
    found.plot("memory", title="Private memory of a worker", x="jobs begun", y="MiB", lines=lines)
    found.finish()


if __name__ == "__main__":
    main()
