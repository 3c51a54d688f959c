"""PostgreSQL dies and comes back at once, or loses its sessions one after the other, in the middle of everything."""

import itertools
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faults.harness.arena import let_pass
from faults.harness.clients import AGAIN_SECONDS, accept_more, accepted_again
from faults.harness.cluster import Cluster
from faults.harness.service import Service
from support.database import open_connection
from support.embedded import answers
from support.waiting import until

from sql.connection import Connection

_OF_OURS = (
    "select pid from pg_stat_activity where backend_type = 'client backend' and application_name like 'windlass%'"
    " and application_name <> 'windlass tests' order by pid"
)
# Claims leave their time in the tables. The clocks are one: the server's and ours.
_FIRST_CLAIM = (
    "select extract(epoch from min(started_at))::float8 from"
    " (select started_at from windlass.running union all select started_at from windlass.done) as claimed"
    " where started_at >= to_timestamp(%(moment)s)"
)


def restarts(service: Service, rounds: int, seed: int = 0) -> dict[str, Any]:
    """`rounds` times the server is shut down at once, killed, or loses a session to kill -9 and with it all others.

    The figures tell how long after it let clients in again a job was claimed and one was accepted.
    """
    chance = random.Random(seed)
    claims, accepts = [], []
    ways = [_shut_down, _kill, _kill_a_session]
    with service.load() as clients:
        for number in range(rounds):
            accept_more(clients)
            let_pass(chance.uniform(0.0, 0.3))
            ways[number % len(ways)](service.server, chance)
            back, moment = time.time(), time.monotonic()
            claims.append(_first_claim(service.server, back) - back)
            accepts.append(accepted_again(clients, moment))
    return {
        "restarts": rounds,
        "claimed_again_seconds_median": round(statistics.median(claims), 3),
        "claimed_again_seconds_most": round(max(claims), 3),
        "accepted_again_seconds_median": round(statistics.median(accepts), 3),
        "accepted_again_seconds_most": round(max(accepts), 3),
        **service.verdict(),
    }


def storm(
    service: Service, rounds: int, seconds: float = 5.0, per_second: float = 10.0, seed: int = 0
) -> dict[str, Any]:
    """Sessions of ours are ended, `per_second` of them, for `seconds`; and in turn they are not. `rounds` of each.

    The rate is of jobs that ended: the clients ask as fast as they are answered, and the pool keeps up with them.
    """
    rates: dict[str, list[float]] = {"calm": [], "storm": []}
    terminated = 0
    with service.load() as clients:
        accept_more(clients, 100)
        for number in range(rounds):
            rates["calm"].append(rate(service.server, seconds))
            with _terminating(service.server, per_second, f"{seed} {number}") as ended:
                rates["storm"].append(rate(service.server, seconds))
            terminated += len(ended)
    calm, under = (statistics.median(rates[how]) for how in ("calm", "storm"))
    return {
        "terminated": terminated,
        "calm_jobs_per_second": round(calm, 1),
        "storm_jobs_per_second": round(under, 1),
        "percent_of_calm": round(100 * under / calm, 1),
        **service.verdict(),
    }


def rate(server: Cluster, seconds: float) -> float:
    """Jobs that come to an end in a second, over the next `seconds`."""
    conn = open_connection(server.url)
    try:
        before, began = _ended(conn), time.monotonic()
        let_pass(seconds)
        return (_ended(conn) - before) / (time.monotonic() - began)
    finally:
        conn.close()


def _shut_down(server: Cluster, _: random.Random) -> None:
    server.crash()
    server.start()


def _kill(server: Cluster, _: random.Random) -> None:
    server.kill()
    server.start()


def _kill_a_session(server: Cluster, chance: random.Random) -> None:
    """The server takes down all the others, recovers, and goes on by itself."""
    watcher = open_connection(server.url)
    ours = [pid for (pid,) in watcher.fetch_all(_OF_OURS)]
    os.kill(chance.choice(ours), signal.SIGKILL)
    until(lambda: not watcher.usable, 10, "the server ends all sessions")
    watcher.close()
    until(lambda: answers(server.url), AGAIN_SECONDS, "the server is back")


def _first_claim(server: Cluster, moment: float) -> float:
    conn = open_connection(server.url)
    try:

        def first() -> float | None:
            row = conn.fetch_one(_FIRST_CLAIM, moment=moment)
            return row[0] if row else None

        return until(first, AGAIN_SECONDS, "a job is claimed again") or 0.0
    finally:
        conn.close()


def _ended(conn: Connection) -> int:
    row = conn.fetch_one("select count(*) from windlass.done")
    assert row is not None
    return int(row[0])


@contextmanager
def _terminating(server: Cluster, per_second: float, seed: str) -> Iterator[list[int]]:
    """Ends a session of the service or its clients every so often; yields those it has ended so far."""
    ended: list[int] = []
    leave = threading.Event()
    chance = random.Random(seed)

    def run() -> None:
        conn = open_connection(server.url)
        began = time.monotonic()
        for number in itertools.count(1):
            if leave.wait(max(0.0, began + number / per_second - time.monotonic())):
                break
            ours = [pid for (pid,) in conn.fetch_all(_OF_OURS)]
            if ours:
                ended.append(chance.choice(ours))
                conn.execute("select pg_terminate_backend(%(pid)s)", pid=ended[-1])
        conn.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        leave.set()
        thread.join(10)
