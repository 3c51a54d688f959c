"""A pool behind a pooler: it says what it can hear, and works either way."""

import pytest
from support.effects import Effects
from support.pgbouncer import PgBouncer
from support.pool_fixtures import StartPool
from support.tables import ended, put_one
from support.waiting import until

from sql.connection import Connection

pytestmark = pytest.mark.needs_pgbouncer


def test_behind_transaction_pooling_a_pool_polls_and_says_so(
    start_pool: StartPool, database_url: str, connection: Connection, effects: Effects
) -> None:
    with PgBouncer(database_url) as bouncer:
        pool = start_pool(database_url=bouncer.url, poll_interval_ms=200)
        until(lambda: pool.said("polling only"), 20, "the steward says that it hears nothing")
        assert not pool.said("hears the hints")
        for _ in range(5):
            job_id = put_one(connection, "note")
            assert ended(connection, job_id).status == "succeeded"
            assert len(effects.all("ran", [job_id])) == 1
        assert pool.stop() == 0


def test_behind_session_pooling_a_pool_hears_the_hints(
    start_pool: StartPool, database_url: str, connection: Connection
) -> None:
    with PgBouncer(database_url, "session") as bouncer:
        pool = start_pool(database_url=bouncer.url, poll_interval_ms=60_000).ready()
        assert ended(connection, put_one(connection, "note")).status == "succeeded"
        assert not pool.said("polling only")
        assert pool.stop() == 0
