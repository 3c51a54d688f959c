"""How fast does the pool drain preloaded jobs that do nothing? `python -m bench.drain --jobs 100000 --workers 2`

Durable (the server's own settings are printed), history kept, server and workers on the same cores. Jobs per second are
jobs / (first claim → last settle), by the database's clock.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from sql import checks, jobs, stats
from sql.connection import connect
from sql.embedded import EmbeddedServer
from sql.jobs import NewJob
from sql.migrate import migrate

_BATCH = 1000
_SPAN = (
    "select count(*), extract(epoch from max(finished_at) - min(started_at)), count(distinct worker_id) "
    "from windlass.done where status = 'succeeded'"
)
_SETTINGS = "select string_agg(name || ' ' || setting, ', ' order by name) from pg_settings where name = any(%s)"


@contextmanager
def database() -> Iterator[str]:
    """The URL of a fresh, migrated database, dropped at the end."""
    given = os.environ.get("DATABASE_URL")
    with tempfile.TemporaryDirectory(prefix="windlass-bench-") as folder:
        os.chmod(folder, 0o711)
        server = None if given else EmbeddedServer(Path(folder) / "postgresql", smart_seconds=5)
        base = given or server.start()  # type: ignore[union-attr]
        admin = psycopg2.connect(base)
        admin.autocommit = True
        name = f"windlass_bench_{secrets.token_hex(4)}"
        try:
            admin.cursor().execute(f"create database {name}")
            head, _, query = base.partition("?")
            url = f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
            migrate(url, log=lambda _: None)
            yield url
            admin.cursor().execute(f"drop database {name} with (force)")
        finally:
            admin.close()
            if server is not None:
                server.stop()


def measure(url: str, count: int, workers: int) -> tuple[float, int]:
    """Jobs per second, and how many workers took part."""
    conn = connect(url, application_name="windlass bench", statement_timeout_ms=600_000)
    job = NewJob("default", "bench_noop", 0, 3, 900, "{}")
    for first in range(0, count, _BATCH):
        jobs.enqueue(conn, [job] * min(_BATCH, count - first))
    pool = subprocess.Popen(
        [sys.executable, "-m", "workerpool"],
        env={
            **os.environ,
            "DATABASE_URL": url,
            "KIND_MODULES": "bench.kinds",
            "WORKER_PROCESSES": str(workers),
            "WORKER_METRICS_BIND_ADDR": "127.0.0.1:0",
            "LOG_LEVEL": "warning",
        },
    )
    pause = threading.Event()
    try:
        while stats.depths(conn):
            if pool.poll() is not None:
                raise SystemExit("the pool ended by itself")
            pause.wait(0.2)
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.wait(60)
    problems = checks.states(conn)
    if problems:
        raise SystemExit(f"the invariants do not hold: {problems[0]}")
    row = conn.fetch_one(_SPAN)
    conn.close()
    assert row is not None
    assert row[0] == count, f"{row[0]} of {count} jobs succeeded"
    return count / float(row[1]), int(row[2])


def main() -> None:
    """Prints a line per round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for round_number in range(1, arguments.rounds + 1):
        with database() as url:
            if round_number == 1:
                with psycopg2.connect(url) as shown, shown.cursor() as cursor:
                    cursor.execute(_SETTINGS, (["server_version", "fsync", "synchronous_commit"],))
                    print((cursor.fetchone() or ("",))[0], flush=True)
                shown.close()
            rate, took_part = measure(url, arguments.jobs, arguments.workers)
            print(f"round {round_number}: {rate:,.0f} jobs/s, {arguments.jobs:,} jobs, {took_part} workers", flush=True)


if __name__ == "__main__":
    main()
