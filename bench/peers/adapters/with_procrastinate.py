"""procrastinate, over psycopg."""

import procrastinate
from speaking import URL, main
from tally import tally

_CONCURRENCY = 20


class WithProcrastinate:
    """Enqueues by its synchronous connector, the quicker of the two for one client."""

    async def prepare(self) -> None:
        app, _ = _app(procrastinate.PsycopgConnector(conninfo=URL))
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        app, self._noop = _app(procrastinate.SyncPsycopgConnector(conninfo=URL))
        app.open()

    async def enqueue(self, number: int) -> None:
        self._noop.defer(i=number)

    async def enqueue_many(self, numbers: range) -> None:
        self._noop.batch_defer(*({"i": number} for number in numbers))

    async def work(self) -> None:
        app, _ = _app(procrastinate.PsycopgConnector(conninfo=URL))
        async with app.open_async():
            await app.run_worker_async(concurrency=_CONCURRENCY)


def _app(connector: procrastinate.BaseConnector) -> tuple[procrastinate.App, procrastinate.tasks.Task]:
    app = procrastinate.App(connector=connector)

    @app.task(name="noop")
    async def noop(i: int) -> None:
        tally.started(i)

    return app, noop


main(WithProcrastinate())
