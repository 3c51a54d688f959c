"""The server lives and something holds it up: a snapshot that stays, a table that is locked, a migration."""

import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from faults.harness.arena import let_pass
from faults.harness.clients import AGAIN_SECONDS, Sql, accept_more, longest_gap
from faults.harness.restarts import rate
from faults.harness.service import Service
from support.database import open_connection
from support.waiting import until

from sql import checks
from sql.migrate import CURRENT, MIGRATIONS, migrate

_TABLES = ("windlass.ready", "windlass.jobs", "windlass.running", "windlass.done")


def snapshot(service: Service, rounds: int, seconds: float = 6.0) -> dict[str, Any]:
    """`rounds` times in turn nobody holds a snapshot for `seconds`, and somebody does. The rate is of jobs that ended.

    `named` is what `windlass check` says of the holder, `metric_seconds` what web's metrics do.
    """
    rates: dict[str, list[float]] = {"free": [], "held": []}
    named: list[str] = []
    metric = 0.0
    with service.load(pause=0.0) as clients:
        accept_more(clients, 100)
        for _ in range(rounds):
            rates["free"].append(rate(service.server, seconds))
            with held_snapshot(service.url):
                rates["held"].append(rate(service.server, seconds))
                conn = open_connection(service.url)
                named = checks.snapshots(conn, seconds=seconds / 2)
                conn.close()
                metric = service.web.value("oldest_snapshot_seconds", application="nightly report")
    free, held = (statistics.median(rates[how]) for how in ("free", "held"))
    return {
        "held_seconds": seconds,
        "free_jobs_per_second": round(free, 1),
        "held_jobs_per_second": round(held, 1),
        "percent_of_free": round(100 * held / free, 1),
        "named": named,
        "metric_seconds": round(metric, 1),
        **service.verdict(),
    }


@contextmanager
def held_snapshot(url: str, application_name: str = "nightly report") -> Iterator[int]:
    """A transaction that sees the database as it is now, idle; yields its session."""
    holder = psycopg2.connect(url, application_name=application_name)
    try:
        holder.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with holder.cursor() as cursor:
            cursor.execute("select count(*) from windlass.queues")
        yield int(holder.info.backend_pid)
    finally:
        holder.close()


def table_lock(service: Service, rounds: int, seconds: float = 4.5) -> dict[str, Any]:
    """`rounds` times one of the tables is locked against everybody for `seconds`, as a change of it would."""
    again = []
    with service.load() as clients:
        for number in range(rounds):
            accept_more(clients)
            changer = psycopg2.connect(service.url)
            changer.cursor().execute(f"lock table {_TABLES[number % len(_TABLES)]} in access exclusive mode")
            let_pass(seconds)
            changer.close()
            let_go = time.monotonic()
            again.append(ran_after(service, let_go) - let_go)
    return {
        "locks": rounds,
        "locked_seconds": seconds,
        "ran_again_seconds_most": round(max(again), 3),
        **service.verdict(),
    }


def migration(service: Service, folder: Path, busy_seconds: float = 3.0) -> dict[str, Any]:
    """A migration wants a table that a long query reads meanwhile: work stands still no longer than it may wait.

    `folder` gets the migrations and that one, which stays applied.
    """
    newer = folder / "migrations"
    shutil.copytree(MIGRATIONS, newer)
    (newer / f"{CURRENT + 1:04d}_newer.sql").write_text(
        f"-- oldest code: {CURRENT}\nalter table windlass.ready add column newer integer;\n"
    )
    said: list[str] = []
    with service.load([Sql(service.url, f"sql beside {n}") for n in range(2)]) as clients:
        accept_more(clients, 100)
        reader = psycopg2.connect(service.url)
        reader.cursor().execute("select count(*) from windlass.ready")
        # The reader goes when its time is over, whatever the migration does.
        timer = threading.Timer(busy_seconds, reader.close)
        timer.start()
        applied = migrate(service.url, log=said.append, folder=newer)
        timer.join()
        accept_more(clients)
    return {
        "applied": applied,
        "tried_again": sum("trying again" in line for line in said),
        "busy_seconds": busy_seconds,
        "longest_stall_seconds": round(longest_gap(clients), 2),
        **service.verdict(),
    }


def ran_after(service: Service, moment: float) -> float:
    """When the first handler began after `moment`."""

    def first() -> float:
        return min((effect.at for effect in service.effects.all("ran") if effect.at > moment), default=0.0)

    return until(first, AGAIN_SECONDS, "a job runs again")
