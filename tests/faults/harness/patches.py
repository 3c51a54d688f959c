"""Code of the product as it would be with a defect, see `defects`. Each is called in a process that begins with it,
when the module that it changes has been imported.
"""

import json
import random
import threading
import time
from dataclasses import replace
from typing import Any

from sql import arrays
from sql.connection import Connection

_HELD_ANEW = "select 1 from windlass.running where id = any(%(ids)s::uuid[]) and lease_expires_at >= now()"
_pause = threading.Event()


def take_back_late() -> None:
    """Finds the expired, waits, and then takes back whatever these jobs are under by now."""
    from sql import leases

    real = leases.rescue

    def rescue(conn: Connection, **terms: Any) -> dict[str, str]:
        expired = "select id::text from windlass.running where lease_expires_at < now() limit 50"
        found = [job for (job,) in conn.fetch_all(expired)]
        if found:
            # Until another has taken one of them back and given it out again, which is when it does harm.
            give_up_at = time.monotonic() + 1.0
            while not conn.fetch_all(_HELD_ANEW, ids=arrays.plain(found)) and time.monotonic() < give_up_at:
                _pause.wait(0.02)
            late = (
                "update windlass.running set lease_expires_at = now() - interval '1 ms' where id = any(%(ids)s::uuid[])"
            )
            conn.execute(f"{late} and lease_expires_at is not null", ids=arrays.plain(found))
        return real(conn, **terms)

    leases.rescue = rescue


def leave_children_alone() -> None:
    from workerpool import child

    child.die_with_parent = lambda _number, _parent: None  # type: ignore[assignment]


def read_all_at_once() -> None:
    """Payloads are read when they are claimed, outside any job's own try."""
    from sql import leases

    real = leases.Claimed._make
    leases.Claimed._make = lambda row: (json.loads(row[2]), real(row))[1]  # type: ignore[method-assign,assignment]


def settle_first() -> None:
    """At most once, by mistake: the outcome is written before the handler has run."""
    from workerpool.execution import Ending
    from workerpool.outcomes import Succeeded
    from workerpool.worker import Worker

    real = Worker._run

    def run(self: Worker, queue: str, index: int, job: Any, began: float) -> None:
        execute, settle = self._execution.run, self._settlement.settle
        self._settlement.settle(index, job, Succeeded(None), ended=began)
        self._settlement.flush()
        self._settlement.settle = lambda *_, **__: None  # type: ignore[method-assign]
        try:
            self._execution.run = lambda *terms: (execute(*terms), Ending(Succeeded(None)))[1]  # type: ignore[method-assign]
            real(self, queue, index, job, began)
        finally:
            self._settlement.settle, self._execution.run = settle, execute  # type: ignore[method-assign]

    Worker._run = run  # type: ignore[method-assign]


def answer_before_commit() -> None:
    """One enqueue in twenty is answered and then not committed."""
    from sql import jobs

    real = jobs.enqueue_shown

    def enqueue_shown(conn: Connection, new: Any) -> Any:
        if random.random() > 0.05:
            return real(conn, new)
        shown: Any = None
        try:
            with conn.transaction():
                shown = real(conn, new)
                raise InterruptedError
        except InterruptedError:
            return shown

    jobs.enqueue_shown = enqueue_shown


def charge_all() -> None:
    """The whole batch of a dead worker crashed."""
    from workerpool.duties import reconcile
    from workerpool.entry import State

    real = reconcile.settle_dead

    def settle_dead(conn: Connection, cell: Any, held: Any) -> int:
        entries = cell.entries
        cell.entries = lambda: [replace(each, state=State.RUNNING) for each in entries() or ()]
        return real(conn, cell, held)

    reconcile.settle_dead = settle_dead


def never_look_at_the_lease() -> None:
    from workerpool.cell import Cell

    Cell.lease_holds = lambda self, _now: self.incarnation > 0 and not self.lost  # type: ignore[method-assign]


def swallow_notices() -> None:
    """A commit whose wait for the standby was cancelled returns with nothing but a notice."""
    from sql.connection import Connection

    Connection._check_notices = lambda _self: None  # type: ignore[method-assign]
