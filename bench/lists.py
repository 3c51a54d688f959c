"""How fast is everything that people and scrapers read, at ten million jobs? `python -m bench.lists --jobs 10000000`

A month of jobs (bench.month), of which `--waiting` wait; one keep-alive client asks the real web service, and the same
is asked of `sql.jobs` directly. Every list is asked from its beginning and from cursors anywhere in the month; what is
shown is the time of all answers of a group, and the lists that took longest. Then `--backlog` more jobs wait, and what
counts them is asked again: beyond 50,000 it answers with the last count of the background, whose first is waited for
before. Not flat, and measured to say so: an offset reads all it skips; and a terminal status that a queue never reaches
is sought among all of its jobs, with those of that status and kind elsewhere beside them.

Filling takes minutes; `--database` is the URL of one that `bench.month.fill` has filled before.
"""

import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from bench import database, month, report
from bench.web import Web
from sql import jobs
from sql.connection import Connection
from sql.rows import Status

_STATUSES = tuple(Status)
_SLOWEST = 10
_MOST_OFFSETS = (1_000, 100_000)
_COUNTS = {
    "GET /v1/admin/queues": "/v1/admin/queues",
    "GET …/queues/default/depth": "/v1/admin/queues/default/depth",
    "GET …/queues/seldom/depth": "/v1/admin/queues/seldom/depth",
    "GET /metrics": "/metrics",
}
Ask = Callable[[], object]


class Span(NamedTuple):
    """The milliseconds since 1970 of the oldest and the newest job."""

    first: int
    last: int

    def cursor(self) -> str:
        """An id anywhere between."""
        stamp = f"{random.randint(self.first, self.last):012x}"
        return f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000"


def timed(ask: Ask, times: int) -> list[float]:
    """Milliseconds of each, of so many."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - began) * 1e3)
    return taken


def numbers(milliseconds: Sequence[float]) -> dict[str, float]:
    """What is said of them."""
    ordered = sorted(milliseconds)
    at = {percent: ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (50, 99)}
    return {"p50 ms": at[50], "p99 ms": at[99], "most ms": ordered[-1], "asked": len(ordered)}


@contextmanager
def client(web: Web) -> Iterator[Callable[[str], bytes]]:
    """Asks for a path; an answer that is not 200 ends the bench."""
    connection = web.connect()

    def get(path: str) -> bytes:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"GET {path}: {answer.status} {body.decode()[:200]}")
        return body

    yield get
    connection.close()


def span(conn: Connection) -> Span:
    """Of the jobs there are."""
    ends = [
        row[0]
        for row in conn.fetch_all(
            "(select id::text from windlass.jobs order by id limit 1) union all "
            "(select id::text from windlass.jobs order by id desc limit 1)"
        )
    ]
    return Span(*(int(end.replace("-", "")[:12], 16) for end in ends))


def filters() -> Iterator[dict[str, str]]:
    """Every status with every kind with every queue, and without."""
    for status, kind, queue in itertools.product((None, *_STATUSES), (None, *month.KINDS), (None, *month.QUEUES)):
        asked = {"status": status, "kind": kind, "queue": queue}
        yield {name: str(value) for name, value in asked.items() if value is not None}


def measure_one(found: report.Report, conn: Connection, get: Callable[[str], bytes], count: int) -> None:
    """Single jobs, ended, running and waiting, anywhere in the month."""
    between = span(conn)
    ids = [jobs.page(conn, before=between.cursor(), limit=1) for _ in range(count)]
    known = itertools.cycle([job.id for page in ids for job in page.jobs])
    found.add(
        {"asked for": "GET /jobs/{id}", "through": "HTTP"}, numbers(timed(lambda: get(f"/jobs/{next(known)}"), count))
    )
    found.add(
        {"asked for": "GET /jobs/{id}", "through": "SQL"}, numbers(timed(lambda: jobs.find(conn, next(known)), count))
    )


def measure_lists(found: report.Report, conn: Connection, get: Callable[[str], bytes], count: int) -> None:
    """Every list, `count` times from its beginning and as often from anywhere; through HTTP and through SQL."""
    between = span(conn)
    ways = {"HTTP": lambda asked: get(f"/jobs?{urlencode(asked)}"), "SQL": lambda asked: list_by_sql(conn, asked)}
    for way, ask in ways.items():
        groups: dict[tuple[str, str], list[float]] = {}
        each: dict[str, list[float]] = {}
        for asked in filters():
            for position in ("first page", "cursor"):
                for _ in range(count):
                    full = asked | ({"cursor": between.cursor()} if position == "cursor" else {})
                    taken = timed(lambda ask=ask, full=full: ask(full), 1)  # type: ignore[misc]
                    groups.setdefault((" and ".join(asked) or "all", position), []).extend(taken)
                    each.setdefault(f"{urlencode(asked)}, {position}", []).extend(taken)
        for (group, position), taken in groups.items():
            found.add({"asked for": f"GET /jobs by {group}, {position}", "through": way}, numbers(taken))
        for name, taken in sorted(each.items(), key=lambda item: -max(item[1]))[:_SLOWEST]:
            found.add({"asked for": name, "through": way}, numbers(taken), "the slowest of them")
        for offset in _MOST_OFFSETS:
            taken = timed(lambda ask=ask, offset=offset: ask({"offset": str(offset)}), count)  # type: ignore[misc]
            found.add({"asked for": f"GET /jobs?offset={offset}", "through": way}, numbers(taken))


def list_by_sql(conn: Connection, asked: dict[str, Any]) -> object:
    """What the API asks the database for."""
    named = {"before" if name == "cursor" else name: value for name, value in asked.items()}
    named["offset"] = int(named.get("offset", 0))
    return jobs.page(conn, **named)


def measure_counts(found: report.Report, get: Callable[[str], bytes], waiting: int, count: int) -> None:
    """What counts jobs. The first answer is not counted: a process that has never counted many waits for it."""
    for name, path in _COUNTS.items():
        get(path)
        found.add({"asked for": name, "waiting": waiting}, numbers(timed(lambda path=path: get(path), count)), "counts")  # type: ignore[misc]


@contextmanager
def filled(given: Any) -> Iterator[tuple[str, str]]:
    """A database with its month of jobs, and its server's URL."""
    if given.database:
        yield given.database, given.database
        return
    with database.server(given.bin_dir) as server, server.fresh() as url:
        month.fill(url, given.jobs, given.waiting)
        yield url, server.url


def main() -> None:
    """Prints a line per group."""
    asked = report.asked(
        __doc__,
        (1, 1),
        jobs=(10_000_000, 4_000),
        waiting=(200_000, 400),
        backlog=(2_000_000, 100),
        times=(10, 1),
        database=("", ""),
    )
    found = report.Report("lists", asked)
    with filled(asked) as (url, server_url):
        found.server(server_url)
        for _ in range(asked.rounds):
            conn = database.open_connection(url)
            with Web(url, workers=1, KIND_MODULES="bench.month", LOG_LEVEL="warning") as web, client(web) as get:
                measure_one(found, conn, get, asked.times * 100)
                measure_counts(found, get, asked.waiting, asked.times * 10)
                measure_lists(found, conn, get, asked.times)
                if asked.backlog:
                    month.add_waiting(url, asked.backlog)
                    measure_counts(found, get, asked.waiting + asked.backlog, asked.times * 10)
                    shown = json.loads(get("/v1/admin/queues"))["queues"]
                    if sum(queue["queued"] + queue["retrying"] for queue in shown) < asked.backlog:
                        raise SystemExit(f"the backlog of {asked.backlog} is not counted: {shown}")
            conn.close()
    found.finish()


if __name__ == "__main__":
    main()
