"""Our own queue, enqueued without HTTP, as the peers are: the same statement and the same hints the API uses."""

from speaking import URL, main

from app.hints import HintSender
from sql import jobs
from sql.connection import Connection, connect
from sql.jobs import NewJob
from sql.migrate import migrate


class WithWindlass:
    """Its workers are the pool's own command."""

    async def prepare(self) -> None:
        migrate(URL, log=lambda _: None)

    async def open(self) -> None:
        self._conn = _connect()
        self._hints = HintSender(_connect)

    async def enqueue(self, number: int) -> None:
        jobs.enqueue(self._conn, [_job(number)])
        self._hints.send(1)

    async def enqueue_many(self, numbers: range) -> None:
        jobs.enqueue(self._conn, [_job(number) for number in numbers])
        self._hints.send(len(numbers))

    async def work(self) -> None:
        raise SystemExit("run the pool")


def _connect() -> Connection:
    return connect(URL, application_name="windlass bench")


def _job(number: int) -> NewJob:
    return NewJob("default", "bench_numbered", 0, 3, 900, f'{{"i":{number}}}')


main(WithWindlass())
