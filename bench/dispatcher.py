"""What does the worker's loop itself take of a job? `python -m bench.dispatcher --workers 4`

The real loop, with rows from memory where the database was; making the rows is not counted. For jobs that do nothing:
microseconds of one worker alone, the quickest batch of a thousand, hence what is left of `bench.shares` when psycopg2's
part is taken away. For handlers that sleep: what share of workers / duration as many loops reach when no statement is
sent and no server shares the cores, beside a bare loop: how near `bench.handlers` could come at most.
"""

import itertools
import multiprocessing
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

from bench import handlers, report
from bench.database import new_job

_RUN_AT = "2026-01-01 00:00:00+00"
# Shorter than a batch may last, so that each is settled with the claim of the next.
_BATCH_SECONDS = 0.08


class _Memory:
    """Stands where a worker has its session and its connection: each claim gets `size` new jobs, until `count` were
    handed out. `batches` are the seconds from one answer to the next question.
    """

    usable = True

    def __init__(self, kind: str, payload: str, size: int, count: int) -> None:
        self._row = (kind, payload, 1)
        self._size = size
        self._left = count
        self._fences = itertools.count(1)
        self._answered_at: float | None = None
        self.batches: list[float] = []

    def run(self, work: Callable[["_Memory"], Any], **_terms: object) -> Any:
        return work(self)

    once = if_open = run

    def close(self) -> None:
        pass

    def execute(self, _statement: str, **_given: Any) -> int:
        return 0

    def fetch_all(self, _statement: str, **given: Any) -> list[tuple[Any, ...]]:
        asked_at = time.perf_counter()
        acked = [(id,) for id in given["ids"].strip("{}").split(",")] if "ids" in given else []
        if "limit" not in given:
            return acked or [(self._row[0], 0, 0.0)]
        if self._answered_at is not None:
            self.batches.append(asked_at - self._answered_at)
        rows = [self._job() for _ in range(min(self._size, self._left))]
        self._left -= len(rows)
        if not self._left:
            os.kill(os.getpid(), signal.SIGTERM)
        self._answered_at = time.perf_counter()
        return [(len(acked), *row) for row in rows] if acked else rows

    def _job(self) -> tuple[Any, ...]:
        fence = next(self._fences)
        return (str(uuid.UUID(int=fence)), *self._row, fence, 3, 900, 0.5, _RUN_AT, 0)


def _work(kind: str, payload: str, size: int, count: int) -> list[float]:
    """Runs `count` jobs in this process; the seconds of each whole batch."""
    # After the metrics' folder is set, as in the pool.
    from workerpool import metrics, worker
    from workerpool.board import WORKER, Board
    from workerpool.kinds import registry
    from workerpool.settings import PoolSettings
    from workerpool.signals import Inbox
    from workerpool.wake_pipe import WakePipe

    memory = _Memory(kind, payload, size, count)
    worker.Session = lambda *_, **__: memory  # type: ignore[attr-defined]
    metrics.identify(f"worker{os.getpid()}")
    board = Board.create(1)
    cell = board.open_cell(1, WORKER)
    assert cell is not None
    cell.pid, cell.incarnation, cell.lease_until = (
        os.getpid(),
        1,
        time.monotonic() + 3600,
    )
    inbox = Inbox()
    inbox.install({signal.SIGTERM})
    settings = PoolSettings.from_env({"DATABASE_URL": "postgresql://nobody@localhost/none"})
    worker.Worker(settings, registry.load(["bench.kinds"]), board, cell, inbox, WakePipe(1)).run()
    return memory.batches


def _in_processes(count: int, *terms: Any) -> list[list[float]]:
    with multiprocessing.get_context("fork").Pool(count, maxtasksperchild=1) as crew:
        return crew.starmap(_work, [terms] * count, chunksize=1)


def main() -> None:
    """Prints a line per round."""
    asked = report.asked(
        __doc__,
        workers=(4, 2),
        milliseconds=((1, 20), (1,)),
        seconds=(8.0, 0.5),
        batches=(100, 3),
    )
    found = report.Report("dispatcher", asked)
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        for _ in range(asked.rounds):
            (spent,) = _in_processes(1, new_job().kind, "{}", 1000, 1000 * asked.batches)
            found.add(
                {"handler": "nothing", "workers": 1},
                {"µs": min(spent) / 1000 * 1e6},
                "A job that does nothing",
            )
            for milliseconds in asked.milliseconds:
                size = max(1, int(_BATCH_SECONDS / milliseconds * 1000))
                count = int(asked.seconds / milliseconds * 1000)
                terms = ("bench_sleep", f'{{"ms": {milliseconds}}}', size, count)
                spent = itertools.chain.from_iterable(_in_processes(asked.workers, *terms))
                batches = list(spent)
                took = sum(batches) / len(batches) / size
                bare = handlers.bare(asked.workers, milliseconds, min(asked.seconds, 3.0))
                limit = asked.workers / milliseconds * 1000
                numbers = {
                    "% of the limit": milliseconds / 1000 / took * 100,
                    "% of bare": asked.workers / took / bare * 100,
                    "bare, % of the limit": bare / limit * 100,
                }
                found.add(
                    {"handler": f"{milliseconds} ms", "workers": asked.workers},
                    numbers,
                    "Handlers that sleep",
                )
    found.finish()


if __name__ == "__main__":
    main()
