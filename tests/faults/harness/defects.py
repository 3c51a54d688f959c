"""Controls: defects that other queues have had, planted on purpose. A storm that does not find one proves nothing.

Each is planted in the database's functions, in the statements, or in the code of every process that starts with
WINDLASS_TEST_DEFECT set (`planted/sitecustomize.py`). What it replaces must be there, or nothing would be planted.
"""

import importlib
import importlib.abc
import importlib.util
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from sql import arrays
from sql.connection import Connection
from sql.statements import Statement

VARIABLE = "WINDLASS_TEST_DEFECT"
_HELD_ANEW = "select 1 from windlass.running where id = any(%(ids)s::uuid[]) and lease_expires_at >= now()"
_pause = threading.Event()


@dataclass(frozen=True)
class Defect:
    """`functions` maps a function of the database, `statements` a (module of sql, statement) to texts replaced in it;
    `patch` changes code once `module` is imported. `faults` are those that bring it to light, and `sign` stands in the
    problem that names it.
    """

    what: str
    sign: str
    faults: tuple[str, ...]
    functions: Mapping[str, tuple[tuple[str, str], ...]] = ()  # type: ignore[assignment]
    statements: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = ()  # type: ignore[assignment]
    patch: Callable[[], None] | None = None
    module: str = ""


def into_database(name: str, conn: Connection) -> None:
    """What of it is the database's."""
    for function, changes in dict(DEFECTS[name].functions).items():
        row = conn.fetch_one("select pg_get_functiondef(%(name)s::regproc)", name=f"windlass.{function}")
        assert row is not None
        conn.execute(_changed(row[0], changes))


def into_process(name: str) -> None:
    """What of it is this process's."""
    defect = DEFECTS[name]
    for (module, statement), changes in dict(defect.statements).items():
        statements = importlib.import_module(f"sql.{module}")._SQL
        statements[statement] = Statement(statement, _changed(statements[statement], changes))
    if defect.patch is not None:
        sys.meta_path.insert(0, _AfterImport(defect.module, defect.patch))


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls `then` when `module` has been imported: not before, since what a module imports may be read from the
    environment that the program has yet to set.
    """

    def __init__(self, module: str, then: Callable[[], None]) -> None:
        self._module, self._then = module, then

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            # The patches import it by its name.
            sys.modules[name] = module
            self._then()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    for old, new in changes:
        if old not in text:
            raise LookupError(f"nothing to plant the defect in: {old!r} is not there")
        text = text.replace(old, new)
    return text


def _take_back_late() -> None:
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


def _leave_children_alone() -> None:
    from workerpool import child

    child.die_with_parent = lambda _number, _parent: None  # type: ignore[assignment]


def _read_all_at_once() -> None:
    """Payloads are read when they are claimed, outside any job's own try."""
    from sql import leases

    real = leases.Claimed._make
    leases.Claimed._make = lambda row: (json.loads(row[2]), real(row))[1]  # type: ignore[method-assign,assignment]


def _settle_first() -> None:
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


def _answer_before_commit() -> None:
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


def _charge_all() -> None:
    """The whole batch of a dead worker crashed."""
    from workerpool.duties import reconcile
    from workerpool.entry import State

    real = reconcile.settle_dead

    def settle_dead(conn: Connection, cell: Any, held: Any) -> int:
        entries = cell.entries
        cell.entries = lambda: [replace(each, state=State.RUNNING) for each in entries() or ()]
        return real(conn, cell, held)

    reconcile.settle_dead = settle_dead


def _never_look_at_the_lease() -> None:
    from workerpool.cell import Cell

    Cell.lease_holds = lambda self, _now: self.incarnation > 0 and not self.lost  # type: ignore[method-assign]


DEFECTS: dict[str, Defect] = {
    "settle_without_fence": Defect(
        "the ack names the job, not the lease",
        "accepted, and not done",
        ("stop_holder", "kill_holder"),
        functions={
            "ack": (
                ("and case when (id, fence) in (select id, fence from given) then true end", ""),
                ("and worker_id is not distinct from holder", ""),
            )
        },
    ),
    "rescue_by_id": Defect(
        "the rescue takes back what a job is under now, not what had expired",
        "a lease taken back before it was over",
        ("stop_holder", "kill_holder"),
        patch=_take_back_late,
        module="sql.leases",
    ),
    "count_at_failure": Defect(
        "an attempt is counted when it fails, not when it begins",
        "an attempt miscounted",
        ("kill_worker",),
        functions={"claim": (("run_at, attempts + 1, fence", "run_at, greatest(attempts, 1), fence"),)},
    ),
    "believe_the_worker's_clock": Defect(
        "a worker's clock, ten minutes ahead, says what is due",
        "claimed before its time",
        ("kill_worker",),
        functions={"claim": (("run_at <= now()", "run_at <= now() + interval '10 minutes'"),)},
    ),
    "outlive_the_supervisor": Defect(
        "children do not die with their parent",
        "nobody outlives the supervisor",
        ("kill_supervisor",),
        patch=_leave_children_alone,
        module="workerpool.child",
    ),
    "read_payloads_at_the_claim": Defect(
        "one payload that cannot be read fails the whole batch",
        "not ended",
        ("kill_worker",),
        patch=_read_all_at_once,
        module="sql.leases",
    ),
    "settle_first": Defect(
        "the outcome is written before the handler runs",
        "succeeded without its effect",
        ("kill_worker", "kill_whole_pool"),
        patch=_settle_first,
        module="workerpool.worker",
    ),
    "retry_for_ever": Defect(
        "what failed goes back whatever its attempts",
        "more attempts than it may have",
        ("kill_worker",),
        statements={
            ("leases", "fail"): (("when s.permanent or s.attempts >= j.max_attempts then", "when s.permanent then"),)
        },
    ),
    "answer_before_commit": Defect(
        "the client is answered, then the transaction is lost",
        "accepted, and not there",
        ("kill_web_worker",),
        patch=_answer_before_commit,
        module="sql.jobs",
    ),
    "giving_back_costs_an_attempt": Defect(
        "a job released keeps its attempt",
        "an attempt miscounted",
        ("drain_pool", "quit_pool", "kill_worker"),
        statements={("leases", "release"): (("now(), attempts - 1, fence", "now(), attempts, fence"),)},
    ),
    "a_death_costs_the_whole_batch": Defect(
        "all that a dead worker held has crashed",
        "a death that cost several jobs an attempt",
        ("kill_worker",),
        patch=_charge_all,
        module="workerpool.duties.reconcile",
    ),
    "fences_begin_anew": Defect(
        "a fence counts the claims of its job only",
        "a fence given out twice",
        ("kill_worker",),
        functions={"claim": (("nextval('windlass.fence') as fence", "r.last_fence + 1 as fence"),)},
    ),
    "start_under_a_lost_lease": Defect(
        "a worker does not look whether its lease still holds",
        "started under a lost lease",
        ("stop_worker", "stop_whole_pool"),
        patch=_never_look_at_the_lease,
        module="workerpool.cell",
    ),
    "settle_twice": Defect(
        "the ack leaves the lease where it is",
        "an illegal path",
        ("kill_worker",),
        functions={"ack": (("delete from windlass.running", "update windlass.running set progress = null"),)},
    ),
}
