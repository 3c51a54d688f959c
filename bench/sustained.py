"""How many jobs a second can come and go together? `python -m bench.sustained --seconds 15`

One producer stores no-op jobs 1,000 at a time with a hint after each commit, as a web process does, and waits while
20,000 are ahead of the pool; two workers drain. Rates are of the time after the first seconds, until the producer
stops: what was stored, and what was settled.
"""

import time

from bench import database, processes, rates, report
from bench.pool import Pool
from sql import hints, jobs

_BATCH = 1000
_PAUSE_SECONDS = 0.002
_SETTLED = """
select count(*) from windlass.done where finished_at > %(since)s::timestamptz and finished_at <= %(to)s::timestamptz
"""


def measure(
    server: database.Server, workers: int, warm: float, seconds: float, most: int
) -> tuple[dict[str, float], list[tuple[int, int]]]:
    """The numbers of one round, and the jobs done in each second."""
    batch = [database.new_job()] * _BATCH
    with server.fresh() as url, Pool(url, workers) as pool:
        pool.wait_until_ready()
        conn = database.open_connection(url)
        stored = stored_before = 0
        waited = 0.0
        began = time.monotonic()
        since = ""
        while (now := time.monotonic() - began) < warm + seconds:
            if not since and now >= warm:
                since, stored_before, measured_from, waited = rates.now(url), stored, time.monotonic(), 0.0
            # How many were claimed, by a number that costs nothing to read; counting the backlog would cost a core.
            if stored - pool.begun() >= most:
                processes.rest(_PAUSE_SECONDS)
                waited += time.monotonic() - began - now
                continue
            jobs.enqueue(conn, batch)
            hints.hint(conn, _BATCH)
            stored += _BATCH
        to, lasted = rates.now(url), time.monotonic() - measured_from
        pool.wait_until_drained()
        row = conn.fetch_one(_SETTLED, since=since, to=to)
        conn.close()
        rates.span(url, stored)
        assert row is not None
        numbers = {
            "settled jobs/s": row[0] / lasted,
            "stored jobs/s": (stored - stored_before) / lasted,
            "% of the time the producer waited": 100 * waited / lasted,
        }
        return numbers, rates.by_second(url)


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, workers=(2, 2), warm=(2.0, 0.1), seconds=(15.0, 0.3), backlog=(20_000, 20_000))
    found = report.Report("sustained", asked)
    lines = {}
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for number in range(1, asked.rounds + 1):
            numbers, by_second = measure(server, asked.workers, asked.warm, asked.seconds, asked.backlog)
            found.add({"workers": asked.workers, "backlog at most": asked.backlog}, numbers)
            lines[f"round {number}"] = by_second
    found.plot(
        "sustained", title="Jobs settled in each second while others are stored", x="second", y="jobs", lines=lines
    )
    found.finish()


if __name__ == "__main__":
    main()
