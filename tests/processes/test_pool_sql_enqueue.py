"""A pool runs what another program enqueued in its own transaction."""

import json

import psycopg
from psycopg.types.json import Jsonb
from support.pool_fixtures import Shared, StartPool
from support.shop import ORDERS, orders_and_jobs
from support.tables import becomes, drained, ended

from sql.connection import Connection


def test_an_idle_pool_finds_it_by_itself_after_the_commit(
    start_pool: StartPool, connection: Connection, database_url: str
) -> None:
    connection.execute(ORDERS)
    start_pool().ready()
    with psycopg.connect(database_url) as client:
        client.execute("insert into public.orders values (1)")
        row = client.execute("select windlass.enqueue('note', %s)::text", [Jsonb({"result": [1, "ä"]})]).fetchone()
        assert row is not None
        assert orders_and_jobs(connection) == (0, 0)
    job = ended(connection, row[0], 5)
    assert (job.status, job.attempts, json.loads(job.result or "")) == ("succeeded", 1, [1, "ä"])


def test_a_payload_no_kind_would_take_is_a_dead_letter_that_says_so(shared: Shared) -> None:
    [(wrong,)] = shared.connection.fetch_all("select windlass.enqueue('summarize_text', '{\"text\": 5}')::text")
    [(huge,)] = shared.connection.fetch_all("select windlass.enqueue('note', '{\"n\": 1e5000}')::text")
    [(nobodys,)] = shared.connection.fetch_all("select windlass.enqueue('nobodys', 'null')::text")
    assert ended(shared.connection, wrong).last_error == (
        "payload validation failed for summarize_text: text: Not a valid string."
    )
    assert (ended(shared.connection, huge).last_error or "").startswith("the payload cannot be read back: ")
    assert becomes(shared.connection, nobodys, "queued").attempts == 0


def test_many_clients_and_a_pool_leave_each_order_with_one_job_that_ran(
    start_pool: StartPool, connection: Connection, database_url: str
) -> None:
    connection.execute(ORDERS)
    start_pool().ready()
    for order in range(60):
        with psycopg.connect(database_url) as client:
            client.execute(
                "insert into public.orders values (%s, windlass.enqueue('note', '{}', idempotency_key => %s))",
                [order, f"order-{order}"],
            )
            if order % 3 == 0:
                client.rollback()
    assert drained(connection) == {"succeeded": 40}
    assert orders_and_jobs(connection) == (40, 40)
