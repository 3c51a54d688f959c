"""Servers and databases to measure on."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from sql import checks, jobs
from sql.connection import Connection, connect
from sql.embedded import EmbeddedServer
from sql.jobs import NewJob
from sql.migrate import migrate

_BATCH = 1000
# The checker reads ten million jobs, and history is made by the million.
_PATIENCE_MS = 3_600_000


class Server:
    """A running PostgreSQL on which databases may be made. `url` is of its maintenance database."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def fresh(self, *, check: bool = True) -> Iterator[str]:
        """The URL of a migrated database, dropped at the end. A job in no or several states ends the bench."""
        name = f"windlass_bench_{secrets.token_hex(4)}"
        self.run(f"create database {name}")
        try:
            url = self.url_of(name)
            migrate(url, log=lambda _: None)
            yield url
            if check:
                refuse_problems(url)
        finally:
            self.run(f"drop database {name} with (force)")

    def url_of(self, database: str) -> str:
        """The URL of another database of this server."""
        head, _, query = self.url.partition("?")
        return f"{head.rsplit('/', 1)[0]}/{database}" + (f"?{query}" if query else "")

    def run(self, statement: str) -> None:
        """One statement, on a connection of its own, in no transaction."""
        admin = psycopg2.connect(self.url)
        try:
            admin.autocommit = True
            admin.cursor().execute(statement)
        finally:
            admin.close()


@contextmanager
def server(bin_dir: str | None = None, *, preload: str = "", tcp_port: int | None = None) -> Iterator[Server]:
    """The server of DATABASE_URL, or a durable one of our own in stock configuration if that is unset.

    With `bin_dir`, `preload` (of shared_preload_libraries) or `tcp_port` it is always one of our own.
    """
    given = os.environ.get("DATABASE_URL")
    if given and not (bin_dir or preload or tcp_port):
        yield Server(given)
        return
    folder = Path(tempfile.mkdtemp(prefix="windlass-bench-"))
    folder.chmod(0o711)  # root's servers run as another account
    embedded = EmbeddedServer(folder / "postgresql", bin_dir=bin_dir or None, tcp_port=tcp_port, smart_seconds=5)
    try:
        made = Server(embedded.start())
        if preload:
            made.run(f"alter system set shared_preload_libraries = '{preload}'")
            embedded.stop()
            embedded.start()
        if tcp_port:
            made.url = embedded.tcp_url
        yield made
    finally:
        home = embedded.home
        embedded.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def open_connection(url: str) -> Connection:
    """A connection that may take its time. The caller closes it."""
    return connect(url, application_name="windlass bench", statement_timeout_ms=_PATIENCE_MS)


def enqueue(conn: Connection, count: int, job: NewJob) -> None:
    """So many jobs like `job`, 1,000 at a time, as the API does it."""
    for first in range(0, count, _BATCH):
        jobs.enqueue(conn, [job] * min(_BATCH, count - first))


def new_job(
    kind: str = "bench_noop",
    payload: str = "{}",
    *,
    queue: str = "default",
    priority: int = 0,
    run_at: str | None = None,
) -> NewJob:
    """A job as the benches enqueue it."""
    return NewJob(queue, kind, priority, 3, 900, payload, run_at)


def fill(url: str, count: int, job: NewJob | None = None) -> None:
    """As `enqueue`, on a connection of its own."""
    conn = open_connection(url)
    try:
        enqueue(conn, count, job or new_job())
    finally:
        conn.close()


def calm(url: str) -> None:
    """Statistics as autovacuum would soon make them, and a checkpoint: so that rounds begin alike."""
    conn = open_connection(url)
    try:
        conn.execute("analyze")
        conn.execute("checkpoint")
    finally:
        conn.close()


def refuse_problems(url: str) -> None:
    """Raises SystemExit unless every job is in exactly one state."""
    conn = open_connection(url)
    try:
        problems = checks.states(conn)
    finally:
        conn.close()
    if problems:
        raise SystemExit(f"the invariants do not hold: {problems[0]} ({len(problems)} or more)")


def bin_dirs(given: str) -> Sequence[str]:
    """Of a comma list of folders those that hold a PostgreSQL; an empty one stands for DATABASE_URL or our own."""
    return [folder for folder in given.split(",") if not folder or (Path(folder) / "postgres").exists()]
