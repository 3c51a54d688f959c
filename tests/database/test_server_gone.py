"""A server that stops and comes back: connections say so, new ones work, and nobody is taken for lost too soon."""

from pathlib import Path

import pytest
from support.database import open_connection
from support.embedded import Playground
from support.work import add, claim_one, look, past, register

from sql import leases, workers
from sql.errors import Unavailable
from sql.migrate import migrate


def test_over_a_restart_connections_fail_and_leases_hold() -> None:
    playground = Playground()
    try:
        server = playground.server()
        url = server.start()
        migrate(url, log=lambda _: None)
        before, idle = open_connection(url), open_connection(url)
        worker = register(before, lease_seconds=60)
        pool_job, http_job = add(before), add(before)
        pool = claim_one(before, worker)
        claim_one(before)
        past(before, "workers", "heartbeat_at", 3600)
        past(before, "running", "lease_expires_at", 3600)

        server.stop()
        assert not idle.usable
        with pytest.raises(Unavailable):
            add(before)
        assert not before.usable
        with pytest.raises(Unavailable):
            open_connection(url)

        server.start()
        after = open_connection(url)
        # The server has not run for a lease yet: the outage kept the stewards from beating.
        assert workers.mark_lost(after) == []
        assert leases.rescue(after, workers_too=True) == {http_job: "retrying"}
        assert look(after, pool_job).status == "running"
        assert leases.ack(after, worker, [(pool, None)]) == {pool_job}
        after.close()
    finally:
        playground.clear()
    assert not Path(playground.data).exists()
