"""chancy, over psycopg, with handlers on its event loop, which is the lightest of its executors."""

from chancy import Chancy, Queue, Worker, job
from speaking import URL, main
from tally import tally

_CONCURRENCY = 200


# Its workers import a job by module and name, here `__main__.noop`.
@job(queue="default")
async def noop(*, i: int) -> None:
    tally.started(i)


class WithChancy:
    """Finished jobs are written together, once a second."""

    async def prepare(self) -> None:
        async with Chancy(URL) as app:
            await app.migrate()
            await app.declare(
                Queue(
                    "default",
                    concurrency=_CONCURRENCY,
                    eager_polling=True,
                    polling_interval=1,
                    executor=Chancy.Executor.Async,
                )
            )

    async def open(self) -> None:
        self._app = await Chancy(URL).__aenter__()

    async def enqueue(self, number: int) -> None:
        await self._app.push(noop.job.with_kwargs(i=number))

    async def enqueue_many(self, numbers: range) -> None:
        async for _ in self._app.push_many([noop.job.with_kwargs(i=number) for number in numbers]):
            pass

    async def work(self) -> None:
        async with Chancy(URL) as app, Worker(app) as worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    main(WithChancy())
