"""How fast does the pool drain preloaded jobs that do nothing? `python -m bench.drain --jobs 300000 --workers 2`

Jobs are loaded first, then the pool is started; history is kept; server and workers share the cores. Jobs per second
are jobs / (first claim → last settle), by the database's clock, so the start of the second worker is in it. The sweep
asks the same of other numbers of workers and of smaller batches (`WORKER_PREFETCH`, the most a worker takes at once).
"""

from bench import database, rates, report
from bench.pool import Pool

_MOST = 1000


def measure(server: database.Server, jobs: int, workers: int, prefetch: int) -> tuple[float, list[tuple[int, int]]]:
    """Jobs per second, and those done in each second."""
    with server.fresh() as url:
        database.fill(url, jobs)
        database.calm(url)
        with Pool(url, workers, WORKER_PREFETCH=str(prefetch)) as pool:
            pool.wait_until_drained()
        rate, took_part = rates.span(url, jobs)
        if took_part > workers:
            raise SystemExit(f"{took_part} workers took part")
        return rate, rates.by_second(url)


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(
        __doc__,
        jobs=(300_000, 300),
        workers=(2, 2),
        sweep_jobs=(100_000, 100),
        sweep_rounds=(1, 1),
        sweep_workers=((1, 2, 4), (1,)),
        sweep_prefetch=((1, 10, 50, 100, 500, _MOST), (10,)),
    )
    found = report.Report("drain", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        seconds = {}
        for number in range(1, asked.rounds + 1):
            rate, by_second = measure(server, asked.jobs, asked.workers, _MOST)
            found.add({"jobs": asked.jobs, "workers": asked.workers}, {"jobs/s": rate})
            seconds[f"round {number}"] = by_second
        found.plot("drain", title="No-op jobs drained in each second", x="second", y="jobs", lines=seconds)
        lines: dict[str, list[tuple[float, float]]] = {}
        for workers in asked.sweep_workers:
            for prefetch in asked.sweep_prefetch:
                # A claim of one job costs a round trip and a commit: so many more would only take longer.
                jobs = min(asked.sweep_jobs, 4_000 * (prefetch + 1))
                rounds = [measure(server, jobs, workers, prefetch)[0] for _ in range(asked.sweep_rounds)]
                for rate in rounds:
                    found.add({"workers": workers, "prefetch": prefetch}, {"jobs/s": rate}, "sweep")
                lines.setdefault(f"{workers} workers", []).append((prefetch, sorted(rounds)[len(rounds) // 2]))
        found.plot(
            "drain-sweep",
            title="Throughput against batch and workers",
            x="WORKER_PREFETCH",
            y="jobs/s",
            lines=lines,
            log_x=True,
        )
    found.finish()


if __name__ == "__main__":
    main()
