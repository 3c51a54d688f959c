"""Notifications that cannot be sent, and a listener that does not hear: hints may be lost, and work goes on."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from faults.harness.clients import AGAIN_SECONDS, accept_more
from faults.harness.held import ran_after
from faults.harness.service import Service
from support.database import open_connection
from support.processes import stopped
from support.tables import put_one
from support.waiting import until

from sql import hints, jobs
from sql.connection import Connection
from sql.errors import StorageError

_JOB = jobs.NewJob(queue="default", kind="note", priority=0, max_attempts=50, timeout_seconds=60, payload="{}")
_FULL = "too many notifications in the NOTIFY queue"
_BEAT = "select max(heartbeat_at) from windlass.workers where lost_at is null"


def notifications(service: Service) -> dict[str, Any]:
    """A listener that never comes to read keeps the queue of notifications full: each NOTIFY fails.

    A steward is killed meanwhile, so that another has to begin in that state. PostgreSQL 17 or newer; the server is
    restarted for a queue that is soon full.
    """
    server = service.server
    with _full_queue(service):
        began, beaten = time.monotonic(), server.ask(_BEAT)
        os.kill(service.pool.steward(), signal.SIGKILL)
        with service.load() as clients:
            accept_more(clients, 200)
            ran = ran_after(service, began)
            # The pool's leases go on.
            until(lambda: server.ask(_BEAT) > beaten, AGAIN_SECONDS, "the new steward beats")
    # Whoever did not read has gone, and that is all it takes for a hint to be heard again.
    with closing(open_connection(service.url)) as conn:
        hints.hint(conn, 1)
    service.count_exits()
    return {"ran_after_seconds": round(ran - began, 3), **service.verdict()}


def enqueues(service: Service, count: int = 20) -> dict[str, Any]:
    """As `notifications`, one enqueue after the other: those that were `accepted`, and those that the full queue failed
    by the server's own word.
    """
    accepted = failed = 0
    with _full_queue(service):
        conn = open_connection(service.url)
        try:
            for _ in range(count):
                try:
                    accepted += len(jobs.enqueue(conn, [_JOB]))
                except StorageError as error:
                    if _FULL not in str(error.__cause__):
                        raise
                    failed += 1
        finally:
            conn.close()
    return {"enqueues": count, "accepted": accepted, "failed_by_a_full_notify_queue": failed}


@contextmanager
def _full_queue(service: Service) -> Iterator[None]:
    service.server.crash()
    service.server.start(max_notify_queue_pages=64)
    with _deaf_listener(service.url):
        yield


@contextmanager
def _deaf_listener(url: str) -> Iterator[None]:
    """Until the block ends notifications cannot be sent any more."""
    deaf, sender = psycopg2.connect(url), psycopg2.connect(url)
    try:
        for each in (deaf, sender):
            each.autocommit = True
        deaf.cursor().execute("listen windlass_ready")
        # In a transaction it is told of nothing.
        deaf.cursor().execute("begin")
        deaf.cursor().execute("select 1")
        with contextlib.suppress(psycopg2.errors.ProgramLimitExceeded):
            while True:
                sender.cursor().execute(
                    "select pg_notify('nobody', repeat('x', 4000) || n) from generate_series(1, 100) as n"
                )
        # What is smaller may still have fitted in.
        with contextlib.suppress(psycopg2.errors.ProgramLimitExceeded):
            while True:
                sender.cursor().execute("notify nobody, 'x'")
        yield
    finally:
        session = deaf.info.backend_pid
        deaf.close()
        until(lambda: not _is_there(sender, session), message="the session that did not read ends")
        sender.close()


def _is_there(conn: psycopg2.extensions.connection, session: int) -> bool:
    with conn.cursor() as cursor:
        cursor.execute("select from pg_stat_activity where pid = %s", (session,))
        return cursor.rowcount == 1


def stuck_listener(service: Service, count: int = 4) -> dict[str, Any]:
    """The server's process of the steward's session stands still while `count` jobs come and run one after the other:
    nobody hears hints, and all goes on.
    """
    conn = open_connection(service.url)
    waits = []
    try:
        with _stopped_listener(conn):
            for _ in range(count):
                asked = time.monotonic()
                job_id = put_one(conn, _JOB.kind, max_attempts=50)
                service.effects.wait_for("ran", job_id, seconds=AGAIN_SECONDS)
                waits.append(time.monotonic() - asked)
    finally:
        conn.close()
    service.others += count
    return {
        "jobs_meanwhile": count,
        "stuck_seconds": round(sum(waits), 3),
        "slowest_start_seconds": round(max(waits), 3),
        **service.verdict(),
    }


@contextmanager
def _stopped_listener(conn: Connection) -> Iterator[None]:
    """Where it waits for its client: one stopped in a statement or a hint may hold what the whole server waits for."""
    listens = (
        "select pid from pg_stat_activity where application_name = 'windlass steward'"
        " and state = 'idle' and wait_event = 'ClientRead'"
    )
    give_up_at = time.monotonic() + AGAIN_SECONDS
    while time.monotonic() < give_up_at:
        (pid,) = until(lambda: conn.fetch_one(listens), AGAIN_SECONDS, "the steward's session is idle")
        with stopped([pid]):
            if conn.fetch_one(listens) == (pid,):
                yield
                return
    raise AssertionError("the steward's session is never idle")
