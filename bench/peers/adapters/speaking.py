"""The part every adapter in Python shares: `ADAPTER ACTION [COUNT]`, answered with one line of JSON.

prepare: the queue's own tables. single COUNT, bulk COUNT: seconds it took to enqueue. paced COUNT: per job the moment
before the call and the one the job was committed, monotonic nanoseconds. work: run jobs until killed.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

URL = os.environ["BENCH_URL"]
BULK = 1000
_GAP_SECONDS = 0.05


class Adapter(Protocol):
    """One queue, spoken to in its own words. A job's payload is its number."""

    async def prepare(self) -> None:
        """Makes its tables in an empty database."""

    async def open(self) -> None:
        """Before the first enqueue."""

    async def enqueue(self, number: int) -> None:
        """Enqueues one job, and returns when it is committed."""

    async def enqueue_many(self, numbers: range) -> None:
        """Enqueues at most BULK jobs by the queue's own means for many."""

    async def work(self) -> None:
        """Runs jobs, for ever."""


def main(adapter: Adapter, run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run) -> None:
    """Does what the command line says. `run` is the event loop of the queue's choice."""
    # A line of log per job would be measured too.
    logging.disable(logging.CRITICAL)
    run(_act(adapter, sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))


async def _act(adapter: Adapter, action: str, count: int) -> None:
    if action == "prepare":
        await adapter.prepare()
        return
    if action == "work":
        await adapter.work()
        return
    await adapter.open()
    if action == "paced":
        _say({"calls": [await _timed_call(adapter, number) for number in range(count)]})
        return
    began = time.perf_counter()
    if action == "single":
        for number in range(count):
            await adapter.enqueue(number)
    elif action == "bulk":
        for first in range(0, count, BULK):
            await adapter.enqueue_many(range(first, min(first + BULK, count)))
    else:
        raise SystemExit(f"no such action: {action}")
    _say({"seconds": time.perf_counter() - began})


async def _timed_call(adapter: Adapter, number: int) -> tuple[int, int]:
    await asyncio.sleep(_GAP_SECONDS)
    called = time.monotonic_ns()
    await adapter.enqueue(number)
    return called, time.monotonic_ns()


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)
