"""A PgBouncer between the service and its server is killed, paused, and told to read its file again."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.harness.arena import Arena, let_pass
from faults.harness.clients import AGAIN_SECONDS, Client, accept_more, accepted_again
from faults.harness.cluster import Cluster
from faults.harness.service import Service
from support.pgbouncer import PgBouncer
from support.waiting import until


@contextmanager
def behind_a_pooler(folder: Path) -> Iterator[tuple[Service, PgBouncer]]:
    """A service that knows its server by a pooler only."""
    with Cluster(folder / "server") as server:
        server.make().start().migrated()
        with PgBouncer(server.url) as bouncer, Arena(bouncer.url, folder, server.url) as arena:
            yield Service(arena, server, pooled=True), bouncer


def ill(service: Service, bouncer: PgBouncer, rounds: int, seed: int) -> dict[str, Any]:
    """`rounds` of each: killed and started again, paused for a second, reloaded. The figures tell how long after it
    was back a job was accepted.
    """
    chance = random.Random(seed)
    again = []
    with service.load() as clients:
        for number in range(3 * rounds):
            accept_more(clients)
            let_pass(chance.uniform(0.0, 0.3))
            if number % 3 == 0:
                told = _refusals(clients)
                bouncer.kill()
                until(lambda told=told: _refusals(clients) > told, AGAIN_SECONDS, "somebody is told of it")
                bouncer.start()
            elif number % 3 == 1:
                # It waits for what is under way, and keeps what comes.
                bouncer.tell("pause")
                let_pass(1.0)
                bouncer.tell("resume")
            else:
                bouncer.tell("reload")
            again.append(accepted_again(clients, time.monotonic()))
    return {
        "killed": rounds,
        "paused": rounds,
        "reloaded": rounds,
        "accepted_again_seconds_most": round(max(again), 3),
        **service.verdict(),
    }


def _refusals(clients: Sequence[Client]) -> int:
    return sum(client.unavailable for client in clients)
