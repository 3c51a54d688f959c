"""Does what lies around slow a claim down? `python -m bench.backlog --jobs 100000`

The same no-op jobs are drained in turn from an otherwise empty database and from one with: a million scheduled jobs of
a higher priority; five and ten million finished ones (written by SQL); a hundred queues, or two hundred priorities,
over which the jobs are spread; a hundred thousand jobs at the head, half of them of a higher priority and all of them
due earlier, of a kind this pool does not run. Priorities come in both orders: where the last to come go first, what is
finished is written in another order than it came, which has a price of its own. Jobs per second are without the first
and last tenth of each drain, and in each round the better of two, in turn with two of an empty database.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import NamedTuple

from bench import database, history, rates, report
from bench.pool import Pool
from sql.jobs import NewJob

_SOME_DAY = "8999-01-01T00:00:00Z"
_EARLIER = "2020-01-01T00:00:00Z"
# A drain lasts little more than a second, in which others on the machine may take a fifth of it; they never give any.
_DRAINS = 2


class Around(NamedTuple):
    """What is there besides the measured jobs, and how these are spread; the queues are the pool's."""

    name: str
    prepare: Callable[[str], None]
    jobs: Sequence[NewJob] = (database.new_job(),)
    queues: Sequence[str] = ("default",)


def scheduled(count: int) -> Around:
    """Jobs of a higher priority whose time has not come."""
    job = database.new_job(priority=10, run_at=_SOME_DAY)
    return Around(f"{count:,} scheduled, higher priority", lambda url: database.fill(url, count, job))


def finished(first: int, last: int) -> Around:
    """Jobs up to `last` that have ended, of which those before `first` are there already."""
    return Around(f"{last:,} finished", lambda url: history.write(url, last - first + 1, first=first))


def many_queues(count: int) -> Around:
    """The measured jobs in so many queues."""
    queues = [f"queue{number}" for number in range(count)]
    jobs = [database.new_job(queue=queue) for queue in queues]
    return Around(f"{count:,} queues", lambda _: None, jobs, queues)


def many_priorities(count: int, *, last_first: bool) -> Around:
    """The measured jobs with so many priorities, the higher the sooner they came, or the later."""
    jobs = [database.new_job(priority=priority) for priority in range(count)]
    order = "the last to come go first" if last_first else "in the order they came"
    return Around(f"{count:,} priorities, {order}", lambda _: None, jobs if last_first else jobs[::-1])


def foreign(count: int) -> Around:
    """Due jobs of a kind that the pool leaves to others."""

    def prepare(url: str) -> None:
        for priority in (0, 10):
            database.fill(url, count // 2, database.new_job("external", priority=priority, run_at=_EARLIER))

    return Around(f"{count:,} of a foreign kind at the head", prepare)


NOTHING = Around("nothing", lambda _: None)


def drain(url: str, around: Around, count: int, workers: int) -> float:
    """Jobs per second of `count` jobs more, in a database that is prepared."""
    for job in around.jobs:
        database.fill(url, count // len(around.jobs), job)
    count = count // len(around.jobs) * len(around.jobs)
    database.calm(url)
    since = rates.now(url)
    with Pool(url, workers, WORKER_QUEUES=",".join(around.queues)) as pool:
        pool.wait_until_done(count)
    return rates.steady(url, count, since)


def compare(
    server: database.Server,
    prepared: Sequence[tuple[Around, str]],
    version: str,
    found: report.Report,
    asked: Namespace,
) -> None:
    """Prepares databases, then drains the same jobs from each of them and, just before, from an empty one."""
    for around, url in prepared:
        around.prepare(url)
        # Autovacuum would come in the middle of what is measured.
        history.vacuum(url)
    for _ in range(asked.rounds):
        for around, url in prepared:
            rate = empty = 0.0
            for _ in range(_DRAINS):
                with server.fresh() as empty_url:
                    empty = max(empty, drain(empty_url, NOTHING, asked.jobs, asked.workers))
                rate = max(rate, drain(url, around, asked.jobs, asked.workers))
            numbers = {"% of empty": 100 * rate / empty, "jobs/s": rate, "empty jobs/s": empty}
            found.add({"PostgreSQL": version, "around": around.name}, numbers)


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(
        __doc__,
        jobs=(100_000, 300),
        workers=(2, 2),
        scheduled=(1_000_000, 2_000),
        history=((5_000_000, 10_000_000), (2_000,)),
        queues=(100, 3),
        priorities=(200, 3),
        foreign=(100_000, 200),
        bin_dirs=(",/usr/lib/postgresql/15/bin", ""),
    )
    found = report.Report("backlog", asked)
    waiting = [
        scheduled(asked.scheduled),
        many_queues(asked.queues),
        many_priorities(asked.priorities, last_first=True),
        many_priorities(asked.priorities, last_first=False),
        foreign(asked.foreign),
    ]
    for bin_dir in database.bin_dirs(asked.bin_dirs):
        with database.server(bin_dir or asked.bin_dir) as server:
            version = found.server(server.url)
            with ExitStack() as opened:
                urls = [opened.enter_context(server.fresh()) for _ in waiting]
                compare(server, list(zip(waiting, urls, strict=True)), version, found, asked)
            with server.fresh() as url:
                for before, last in pairwise((0, *asked.history)):
                    compare(server, [(finished(before + 1, last), url)], version, found, asked)
    found.finish()


if __name__ == "__main__":
    main()
