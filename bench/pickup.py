"""How soon does an idle pool start a job that comes over HTTP? `python -m bench.pickup --jobs 300`

A client posts one job after another to the real web service, about 50 ms apart, so that the pool has gone idle
each time; the handler's first act is to note the time. Counted from the return of the POST (the client knows that the
commit is done), from its sending, and from the beginning of the enqueueing transaction: from the commit to the handler
it takes less than from that beginning. A number below zero says that the handler started before the client had its
answer. The last part of it is the claim, from its arrival at the server on: planned, carried out, on disk, and back.
"""

import json
import random
import time
from collections.abc import Sequence
from datetime import datetime

from bench import database, processes, report, stamps
from bench.pool import Pool
from bench.web import Web

_BODY = json.dumps({"kind": "bench_stamp", "payload": {"ms": 0}}).encode()
_HEADERS = {"Content-Type": "application/json"}
_FROM = ("the POST's return", "its sending", "the transaction's begin", "the claim's begin")
_CLAIMED = "select id::text, extract(epoch from started_at)::float8 from windlass.done"


def measure(server: database.Server, jobs: int, workers: int, gap: float, warm: int) -> dict[str, list[float]]:
    """Milliseconds of each job, sorted, by what they are counted from."""
    sent: dict[str, tuple[int, int, int]] = {}
    with server.fresh() as url, stamps.collected() as noted, Pool(url, workers, **noted.variables) as pool:
        pool.wait_until_ready()
        with Web(url) as web:
            connection = web.connect()
            for number in range(warm + jobs):
                processes.rest(gap * random.uniform(0.6, 1.4))
                before = time.monotonic_ns()
                connection.request("POST", "/jobs", _BODY, _HEADERS)
                answer = connection.getresponse()
                body = answer.read()
                after = time.monotonic_ns()
                if answer.status != 201:
                    raise SystemExit(f"POST /jobs: {answer.status} {body.decode()}")
                if number >= warm:
                    job = json.loads(body)
                    begun = datetime.fromisoformat(job["created_at"]).timestamp()
                    sent[job["id"]] = before, after, round(begun * 1e6) * 1000
            connection.close()
        pool.wait_until_drained()
        started = noted.read()
        conn = database.open_connection(url)
        claimed = dict(conn.fetch_all(_CLAIMED))
        conn.close()
    waits: dict[str, list[float]] = {name: [] for name in _FROM}
    for job_id, (before, after, begun_at) in sent.items():
        stamp = started[job_id]
        claimed_at = round(claimed[job_id] * 1e6) * 1000
        moments = stamp.monotonic - after, stamp.monotonic - before, stamp.wall - begun_at, stamp.wall - claimed_at
        for name, moment in zip(_FROM, moments, strict=True):
            waits[name].append(moment / 1e6)
    return {name: sorted(values) for name, values in waits.items()}


def at(values: Sequence[float], percent: float) -> float:
    """The value so many percent of the sorted `values` do not exceed."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(__doc__, jobs=(300, 5), workers=(2, 2), gap_ms=(50, 10), warm=(20, 1))
    found = report.Report("pickup", asked)
    everything: dict[str, list[float]] = {name: [] for name in _FROM}
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            waits = measure(server, asked.jobs, asked.workers, asked.gap_ms / 1000, asked.warm)
            for name, values in waits.items():
                numbers = {
                    "p50 ms": at(values, 50),
                    "p90 ms": at(values, 90),
                    "p99 ms": at(values, 99),
                    "most ms": values[-1],
                }
                found.add({"counted from": name, "workers": asked.workers}, numbers)
                everything[name] += values
    lines = {
        f"from {name}": [(at(sorted(values), percent / 2), percent / 2) for percent in range(200)]
        for name, values in everything.items()
    }
    found.plot("pickup", title="Until the handler starts", x="ms", y="% of the jobs started", lines=lines)
    found.finish()


if __name__ == "__main__":
    main()
