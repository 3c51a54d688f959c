"""A primary dies, its standby takes over, and the old primary comes back: by hand, as a fail-over manager does it."""

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.harness import history
from faults.harness.arena import Arena, let_pass
from faults.harness.clients import AGAIN_SECONDS, Careless, accept_more, accepted, accepted_again, enqueuing, missing
from faults.harness.cluster import Cluster
from faults.harness.held import ran_after
from faults.harness.service import Service
from support.database import open_connection
from support.waiting import until

from sql.connection import Connection
from sql.errors import StorageError

_ATTACHED = "select count(*) from pg_stat_replication where state = 'streaming' and sync_state = '{}'"
_WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
_SETTLED_HERE = (
    "select count(*) from pg_stat_activity where application_name like 'windlass%' and pid <> pg_backend_pid()"
    " and application_name <> 'windlass tests' and backend_start < now() - interval '0.5 s'"
)

LOST_WITH_THE_PRIMARY = (*history.OF_TABLES, *history.OF_EFFECTS)
"""What cannot be asked for after an asynchronous failover."""


class Pair:
    """Two servers, the second a standby of the first. `url` names both; whoever uses it wants the one that writes."""

    def __init__(self, folder: Path) -> None:
        self.primary, self.standby = Cluster(folder / "a"), Cluster(folder / "b")
        hosts = ",".join(str(each.socket_folder) for each in (self.primary, self.standby))
        self.url = f"postgresql://postgres@/postgres?host={hosts}&port=5432,5432"

    def start(self) -> None:
        """Both, with the schema."""
        self.primary.make().start().migrated()
        # Whoever rejoins rewinds by WAL that was written before the two parted.
        self.primary.set("wal_keep_size", "512MB")
        # A standby that was just then waiting to ask its primary again would not be promoted for so long.
        self.primary.set("wal_retrieve_retry_interval", "100ms")
        self.standby.copy_of(self.primary)
        self._attach()

    def rejoin(self) -> None:
        """The server that is down, however it ended, becomes the standby of the other."""
        self.standby.rewound_to(self.primary)
        self._attach()

    def _attach(self) -> None:
        """From now on commits wait for the standby."""
        self.standby.start()
        until(lambda: self.primary.ask(_ATTACHED.format("async")) == 1, 20, "the standby streams")
        self.primary.set("synchronous_standby_names", "standby")
        until(lambda: self.primary.ask(_ATTACHED.format("sync")) == 1, 20, "the standby is synchronous")
        # Its answer is the proof that all before it is over there too.
        self.primary.ask("select pg_logical_emit_message(true, 'here', '')")

    def promote(self) -> None:
        """The standby writes from now on; the two change names. Commits wait for nobody until one is attached."""
        self.primary, self.standby = self.standby, self.primary
        self.primary.ask("alter system reset synchronous_standby_names")
        self.primary.ask("alter system reset default_transaction_read_only")
        self.primary.ask("select pg_reload_conf()")
        # Not waited for in the statement: its snapshot could hold up the very recovery it waits for.
        self.primary.ask("select pg_promote(wait => false)")
        until(lambda: self.primary.ask("select pg_is_in_recovery()") is False, 20, "it is promoted")

    def __enter__(self) -> "Pair":
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self.standby, self.primary):
            server.remove()


@contextmanager
def on_a_pair(folder: Path, defect: str = "") -> Iterator[tuple[Service, Pair]]:
    """A service on a pair whose commits wait for the standby."""
    with Pair(folder) as pair:
        pair.start()
        with Arena(pair.url, folder) as arena:
            yield Service(arena, pair.primary, defect), pair


def failovers(service: Service, pair: Pair, rounds: int, seed: int = 0) -> dict[str, Any]:
    """`rounds` times the synchronous primary is killed under load and its standby promoted.

    The old one comes back at once as a server that does not write, on which nobody may settle, and then as the standby.
    """
    chance = random.Random(seed)
    gaps, settled_on_the_old = [], 0
    with service.load(pause=0.01) as clients:
        for _ in range(rounds):
            accept_more(clients)
            let_pass(chance.uniform(0.0, 0.3))
            pair.primary.kill()
            # Back before anybody has settled on the other: who takes any server takes this one.
            pair.primary.start(default_transaction_read_only="on")
            pair.promote()
            promoted = time.monotonic()
            gaps.append(accepted_again(clients, promoted))
            accept_more(clients)
            settled_on_the_old += pair.standby.ask(_SETTLED_HERE)
            pair.standby.crash()
            pair.rejoin()
    return {
        "failovers": rounds,
        "accepted_after_promotion_seconds_median": round(statistics.median(gaps), 3),
        "accepted_after_promotion_seconds_most": round(max(gaps), 3),
        "settled_on_the_old_primary": settled_on_the_old,
        **service.verdict(),
    }


def switchover(service: Service, pair: Pair) -> dict[str, Any]:
    """The primary is told to write no more while everybody has a session on it, and its standby is promoted."""
    with service.load() as clients:
        accept_more(clients, 100)
        pair.primary.set("default_transaction_read_only", "on")
        pair.promote()
        gap = accepted_again(clients, time.monotonic())
        until(lambda: pair.standby.ask(_SETTLED_HERE) == 0, AGAIN_SECONDS, "everybody has left the old primary")
        pair.standby.crash()
        pair.rejoin()
    return {"accepted_after_promotion_seconds": round(gap, 3), **service.verdict()}


def silent_acknowledgements(
    service: Service, pair: Pair, rounds: int, seconds: float = 1.0, seed: int = 0
) -> dict[str, Any]:
    """The standby is gone, and somebody cancels and ends the commits that wait for it; then the primary is lost too.

    `careless_lost` is what a client lost that takes every commit without an error for one: the trap was there.
    """
    careless_accepted = careless_lost = cancelled = 0
    with service.load(pause=0.005) as clients:
        for number in range(rounds):
            accept_more(clients)
            careless = [Careless(pair.url, "careless", pause=0.005)]
            # Until the careless one has left too: it would wait for ever.
            with _cancelling(pair.primary, random.Random(f"{seed} {number}")) as so_far, enqueuing(careless):
                accept_more(careless, 20)
                pair.standby.kill()
                let_pass(seconds)
            cancelled += len(so_far)
            pair.primary.kill()
            pair.standby.start()
            pair.promote()
            accepted_again(clients, time.monotonic())
            conn = open_connection(pair.url)
            gone = missing(conn, careless)
            conn.close()
            careless_lost += gone
            careless_accepted += accepted(careless)
            service.others += accepted(careless) - gone + careless[0].unknown
            pair.rejoin()
    return {
        "standbys_lost": rounds,
        "waits_cancelled": cancelled,
        "careless_accepted": careless_accepted,
        "careless_lost": careless_lost,
        **service.verdict(),
    }


def absent_standby(service: Service, pair: Pair, seconds: float) -> dict[str, Any]:
    """The standby is gone for `seconds` and comes back. Commits wait meanwhile, and so does all work.

    Stewards that wait for longer than one may are replaced: those are the exits.
    """
    with service.load() as clients:
        accept_more(clients)
        pair.standby.kill()
        let_pass(seconds)
        pair.standby.start()
        back = time.monotonic()
        again = accepted_again(clients, back)
        ran = ran_after(service, back) - back
        accept_more(clients, 200)
    figures = service.verdict()
    service.count_exits()
    return {
        "absent_seconds": seconds,
        "accepted_again_seconds": round(again, 3),
        "ran_again_seconds": round(ran, 3),
        **figures,
    }


def asynchronous_failovers(service: Service, pair: Pair, rounds: int, frozen_seconds: float = 0.3) -> dict[str, Any]:
    """The primary is killed while its asynchronous standby lags: what it had accepted and not sent is lost.

    `lost` is how much of `accepted`. The history is lost with it: of the rest the tables and the ledgers tell, and no
    fault comes after this one.
    """
    lost = told = 0
    for _ in range(rounds):
        pair.primary.set("synchronous_standby_names", "")
        with service.load(judged=False) as clients:
            accept_more(clients, 200)
            receiver = pair.standby.process_named("walreceiver")
            os.kill(receiver, signal.SIGSTOP)
            let_pass(frozen_seconds)
            pair.primary.kill()
            # It must not read what is still on its way to it.
            os.kill(receiver, signal.SIGTERM)
            os.kill(receiver, signal.SIGCONT)
            pair.promote()
            accepted_again(clients, time.monotonic())
        conn = open_connection(pair.url)
        gone = missing(conn, clients)
        conn.close()
        lost += gone
        told += accepted(clients)
        service.others += accepted(clients) - gone + sum(client.unknown for client in clients)
        pair.rejoin()
    return {
        "asynchronous_failovers": rounds,
        "frozen_seconds": frozen_seconds,
        **service.verdict(by_history=False),
        # The clients are not judged by: the verdict's own are of nobody.
        "accepted": told,
        "lost": lost,
    }


@contextmanager
def _cancelling(primary: Cluster, chance: random.Random) -> Iterator[list[int]]:
    """Cancels or ends whatever waits for the standby; yields the sessions that were, so far."""
    ended: list[int] = []
    leave = threading.Event()

    def run(conn: Connection) -> None:
        while not leave.wait(0.02):
            for (pid,) in conn.fetch_all(_WAITING):
                how = chance.choice(["pg_cancel_backend", "pg_cancel_backend", "pg_terminate_backend"])
                conn.execute(f"select {how}(%(pid)s)", pid=pid)
                ended.append(pid)

    conn = open_connection(primary.url)
    thread = threading.Thread(target=run, args=(conn,))
    thread.start()
    try:
        yield ended
    finally:
        leave.set()
        thread.join(10)
        try:
            conn.close()
        except StorageError:
            pass
