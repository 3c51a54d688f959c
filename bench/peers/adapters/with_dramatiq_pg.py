"""dramatiq-pg: dramatiq with its messages in PostgreSQL. It has no enqueue for many."""

from pathlib import Path

import dramatiq
import dramatiq_pg
import psycopg2
from speaking import URL, main
from tally import tally

dramatiq.set_broker(dramatiq_pg.PostgresBroker(url=URL, results=False))
_NAMES = {':"schema"': "dramatiq", ':"state"': "state", ':"queue"': "queue"}


@dramatiq.actor
def noop(number: int) -> None:
    tally.started(number)


class WithDramatiqPg:
    """Its workers are dramatiq's own command."""

    async def prepare(self) -> None:
        # Written for psql, with variables and a line of its commands.
        script = (Path(dramatiq_pg.__file__).parent / "schema.sql").read_text()
        script = "\n".join(line for line in script.splitlines() if not line.startswith("\\"))
        for variable, name in _NAMES.items():
            script = script.replace(variable, name)
        conn = psycopg2.connect(URL)
        with conn, conn.cursor() as cursor:
            cursor.execute(script)
        conn.close()

    async def open(self) -> None:
        pass

    async def enqueue(self, number: int) -> None:
        noop.send(number)

    async def enqueue_many(self, numbers: range) -> None:
        for number in numbers:
            noop.send(number)

    async def work(self) -> None:
        raise SystemExit("run dramatiq")


if __name__ == "__main__":
    main(WithDramatiqPg())
