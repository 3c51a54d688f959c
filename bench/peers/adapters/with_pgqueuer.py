"""pgqueuer, over asyncpg, its faster driver."""

import os
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from speaking import URL, main
from tally import tally

_BATCH = int(os.environ["BENCH_BATCH"])


class WithPgqueuer:
    """Its payload is bytes, so the number travels as text."""

    async def prepare(self) -> None:
        queries = await self._queries()
        await queries.install()
        # What `pgq autovac` does, the first item of its performance checklist.
        await queries.optimize_autovacuum()

    async def open(self) -> None:
        self._open = await self._queries()

    async def enqueue(self, number: int) -> None:
        await self._open.enqueue("noop", b"%d" % number)

    async def enqueue_many(self, numbers: range) -> None:
        count = len(numbers)
        await self._open.enqueue(["noop"] * count, [b"%d" % number for number in numbers], [0] * count)

    async def work(self) -> None:
        queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))

        @queue.entrypoint("noop")
        async def noop(job: object) -> None:
            tally.started(int(job.payload))

        await queue.run(batch_size=_BATCH, dequeue_timeout=timedelta(seconds=5))

    async def _queries(self) -> Queries:
        return Queries(AsyncpgDriver(await asyncpg.connect(URL)))


main(WithPgqueuer(), uvloop.run)
