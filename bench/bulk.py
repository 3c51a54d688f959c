"""How many jobs a second are accepted in bulk? `python -m bench.bulk --jobs 1000 --clients 1,2`

The same jobs by three ways, in turn in each round. *HTTP*: clients (bench.clients: one thread) send requests of
`--jobs` jobs each to `POST /jobs/bulk` of the real web service, gunicorn with `--processes` workers, for `--seconds`;
every item is checked against its shape and its payload against its kind's, and is answered as it was stored. With one
client its own waiting shows, and one process works; which process a further connection comes to is chance. *Python*:
`sql.jobs.enqueue`, as a handler's follow-ups are stored. *Bare SQL*: the statement that Python sends, with its arrays
made beforehand, through a cursor of psycopg2 and nothing else. These two are one client on one connection each, batch
by batch in turn, so that both meet the same tables and the same disturbances; their latencies are of a batch, and the
share of bare SQL is the median of the pairs.

At 1,000 jobs a request 25,000 jobs/s over HTTP, and from Python 90 % of bare SQL, are the least that should come out.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import psycopg2

from bench import clients, database, report
from bench.web import Web
from sql import jobs

_KIND = "summarize_text"
_WARM = 5


class Bare(NamedTuple):
    """A statement and its parameters, made once."""

    statement: str
    parameters: dict[str, str]


class _Recorder:
    """Stands for a connection, and keeps what it is asked."""

    def fetch_all(self, statement: str, **parameters: str) -> list[tuple[object, ...]]:
        self.asked = Bare(str(statement), parameters)
        return []


def _payload(number: int) -> dict[str, object]:
    return {"text": f"Winch {number} lifts loads. A windlass is a winch.", "sentences": 1}


def measure_http(found: report.Report, web: Web, count: int, batch: int, seconds: float) -> None:
    """One number of clients."""
    body = json.dumps({"jobs": [{"kind": _KIND, "payload": _payload(number)} for number in range(batch)]}).encode()
    request = clients.request(web.host, "/jobs/bulk", body)
    address = (web.host, web.port)
    clients.ask(address, count, seconds / 10, 200, lambda: request)
    used = web.cpu_seconds()
    answered = clients.ask(address, count, seconds, 200, lambda: request)
    found.add(
        {"by": "HTTP", "clients": count},
        {
            "jobs/s": len(answered.milliseconds) * batch / answered.seconds,
            **clients.percentiles(answered.milliseconds),
            "web cores": (web.cpu_seconds() - used) / answered.seconds,
            "client cores": answered.cores,
        },
    )


def measure_sql(found: report.Report, url: str, batch: int, seconds: float) -> None:
    """Python and bare SQL in turn."""
    new = [database.new_job(_KIND, json.dumps(_payload(number))) for number in range(batch)]
    recorder = _Recorder()
    jobs.enqueue(recorder, new)  # type: ignore[arg-type]
    bare = recorder.asked
    conn = database.open_connection(url)
    raw = psycopg2.connect(url)
    raw.autocommit = True
    cursor = raw.cursor()

    def by_python() -> None:
        jobs.enqueue(conn, new)

    def by_sql() -> None:
        cursor.execute(bare.statement, bare.parameters)
        cursor.fetchall()

    ways: dict[str, Callable[[], None]] = {"Python": by_python, "bare SQL": by_sql}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_WARM):
        by_python()
        by_sql()
    until = time.perf_counter() + 2 * seconds
    while time.perf_counter() < until:
        for name, store in ways.items():
            began = time.perf_counter()
            store()
            taken[name].append((time.perf_counter() - began) * 1e3)
    conn.close()
    raw.close()
    for name, milliseconds in taken.items():
        rate = len(milliseconds) * batch / sum(milliseconds) * 1e3
        pairs = zip(taken["bare SQL"], milliseconds, strict=True)
        share = {"of bare SQL, %": 100 * statistics.median(bare / other for bare, other in pairs)}
        found.add({"by": name, "clients": 1}, {"jobs/s": rate, **clients.percentiles(milliseconds), **share})


def main() -> None:
    """Prints a line per way and round."""
    asked = report.asked(__doc__, jobs=(1000, 10), clients=((1, 2, 4), (2,)), processes=(2, 1), seconds=(4.0, 0.2))
    found = report.Report("bulk", asked)
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for _ in range(asked.rounds):
            with server.fresh() as url:
                with Web(url, workers=asked.processes) as web:
                    for count in asked.clients:
                        measure_http(found, web, count, asked.jobs, asked.seconds)
                measure_sql(found, url, asked.jobs, asked.seconds)
    found.finish()


if __name__ == "__main__":
    main()
