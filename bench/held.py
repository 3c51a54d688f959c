"""Does a held snapshot slow the drain down? `python -m bench.held --jobs 600000`

A backup, a forgotten transaction or a replica's long query keeps vacuum from removing dead rows. Here a transaction
opened after loading holds its snapshot while all jobs are drained, and in turn nobody does. Compared are the first and
the last of the successive sixths: a claim that walks over dead rows gets slower and slower.
"""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from bench import database, rates, report
from bench.pool import Pool


@contextmanager
def snapshot(url: str) -> Iterator[None]:
    """A transaction that sees the database as it is now."""
    holder = psycopg2.connect(url)
    try:
        holder.set_session(isolation_level="REPEATABLE READ", readonly=True)
        holder.cursor().execute("select count(*) from windlass.queues")
        yield
    finally:
        holder.close()


def measure(server: database.Server, jobs: int, workers: int, parts: int, *, held: bool) -> list[float]:
    """Jobs per second of each successive part."""
    with server.fresh() as url:
        database.fill(url, jobs)
        database.calm(url)
        if held:
            with snapshot(url):
                _drain(url, jobs, workers)
        else:
            _drain(url, jobs, workers)
        return rates.successive(url, jobs // parts)


def _drain(url: str, jobs: int, workers: int) -> None:
    with Pool(url, workers) as pool:
        pool.wait_until_drained()
    rates.span(url, jobs)


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, jobs=(600_000, 2_400), workers=(2, 2), parts=(6, 2))
    found = report.Report("held", asked)
    rounds: dict[str, list[list[float]]] = {"held": [], "not held": []}
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            for how, kept in rounds.items():
                parts = measure(server, asked.jobs, asked.workers, asked.parts, held=how == "held")
                kept.append(parts)
                numbers = {
                    "% last of first": 100 * parts[-1] / parts[0],
                    "first jobs/s": parts[0],
                    "last jobs/s": parts[-1],
                    "slowest jobs/s": min(parts),
                }
                found.add({"snapshot": how, "jobs": asked.jobs}, numbers)
    size = asked.jobs // asked.parts
    lines = {
        f"snapshot {how}": [
            ((number + 1) * size, statistics.median(rates_)) for number, rates_ in enumerate(zip(*kept, strict=True))
        ]
        for how, kept in rounds.items()
    }
    found.plot("held", title="Rate of each successive part", x="jobs done", y="jobs/s", lines=lines)
    found.finish()


if __name__ == "__main__":
    main()
