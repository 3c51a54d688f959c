"""Controls: defects that other queues have had, planted on purpose. A storm that does not find one proves nothing.

Each is planted in the database's functions, in the statements, or in the code of every process that starts with
WINDLASS_TEST_DEFECT set (`planted/sitecustomize.py`). What it replaces must be there, or nothing would be planted.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from faults.harness import patches
from faults.harness.imports import after_import, python_path

from sql.connection import Connection
from sql.statements import Statement

VARIABLE = "WINDLASS_TEST_DEFECT"


@dataclass(frozen=True)
class Defect:
    """`functions` maps a function of the database, `statements` a (module of sql, statement) to texts replaced in it;
    `script` is run in the database; `patch` changes code once `module` is imported. `faults` are those of a storm that
    bring it to light in `seconds`; without any it takes another scene (`controls`). `sign` stands in the problem that
    names it.
    """

    what: str
    sign: str
    faults: tuple[str, ...]
    functions: Mapping[str, tuple[tuple[str, str], ...]] = ()  # type: ignore[assignment]
    statements: Mapping[tuple[str, str], tuple[tuple[str, str], ...]] = ()  # type: ignore[assignment]
    script: str = ""
    patch: Callable[[], None] | None = None
    module: str = ""
    seconds: float = 6.0


def environ(name: str) -> dict[str, str]:
    """Variables of a process that imports what tests have, and begins with the defect, if there is a name."""
    return {"PYTHONPATH": python_path(planted=bool(name)), VARIABLE: name}


def into_database(name: str, conn: Connection) -> None:
    """What of it is the database's."""
    for function, changes in dict(DEFECTS[name].functions).items():
        row = conn.fetch_one("select pg_get_functiondef(%(name)s::regproc)", name=f"windlass.{function}")
        assert row is not None
        conn.execute(_changed(row[0], changes))
    if DEFECTS[name].script:
        conn.execute(DEFECTS[name].script)


def into_process(name: str) -> None:
    """What of it is this process's."""
    defect = DEFECTS[name]
    for (module, statement), changes in dict(defect.statements).items():
        statements = importlib.import_module(f"sql.{module}")._SQL
        statements[statement] = Statement(statement, _changed(statements[statement], changes))
    if defect.patch is not None:
        after_import(defect.module, defect.patch)


def _changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    for old, new in changes:
        if old not in text:
            raise LookupError(f"nothing to plant the defect in: {old!r} is not there")
        text = text.replace(old, new)
    return text


_WHOSE = "and r.fence = g.fence and r.worker_id is not distinct from %(worker_id)s::bigint"
_ON_CONFLICT = """do update set
        job_id = case when o.expires_at <= now() then excluded.job_id else o.job_id end,
        request_hash = case when o.expires_at <= now() then excluded.request_hash else o.request_hash end,
        expires_at = case when o.expires_at <= now() then excluded.expires_at else o.expires_at end"""
_NOTIFY_BY_TRIGGER = """
create function windlass.tell() returns trigger language plpgsql as $$
begin
    perform pg_notify('windlass_ready', '1');
    return null;
end
$$;
create trigger tell after insert on windlass.ready for each statement execute function windlass.tell();
"""

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
    "fail_without_fence": Defect(
        "a failure and a release name the job, not the lease",
        "accepted, and not done",
        ("stop_holder", "kill_holder"),
        statements={("leases", name): ((_WHOSE, ""),) for name in ("fail", "release")},
    ),
    "rescue_by_id": Defect(
        "the rescue takes back what a job is under now, not what had expired",
        "a lease taken back before it was over",
        ("stop_holder", "kill_holder"),
        patch=patches.take_back_late,
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
        patch=patches.leave_children_alone,
        module="workerpool.child",
    ),
    "read_payloads_at_the_claim": Defect(
        "one payload that cannot be read fails the whole batch",
        "not ended",
        ("kill_worker",),
        patch=patches.read_all_at_once,
        module="sql.leases",
    ),
    "settle_first": Defect(
        "the outcome is written before the handler runs",
        "succeeded without its effect",
        ("kill_worker", "kill_whole_pool"),
        patch=patches.settle_first,
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
    "claim_while_paused": Defect(
        "a claim does not look whether its queue is paused",
        "claimed from a paused queue",
        ("pause_queue",),
        functions={"claim": (("q.paused_at is not null", "false"),)},
    ),
    "answer_before_commit": Defect(
        "the client is answered, then the transaction is lost",
        "accepted, and not there",
        ("kill_web_worker",),
        patch=patches.answer_before_commit,
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
        patch=patches.charge_all,
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
        patch=patches.never_look_at_the_lease,
        module="workerpool.cell",
    ),
    "settle_twice": Defect(
        "the ack leaves the lease where it is",
        "an illegal path",
        ("kill_worker",),
        functions={"ack": (("delete from windlass.running", "update windlass.running set progress = null"),)},
    ),
    "replay_that_does_nothing": Defect(
        "a key that is there already is passed over, and its job is made again",
        "asked for once, there twice",
        ("kill_worker",),
        statements={("jobs", name): ((_ON_CONFLICT, "do nothing"),) for name in ("enqueue", "enqueue_shown")},
    ),
    "keys_in_no_order": Defect(
        "a bulk takes its keys in the order of its items",
        "deadlocks",
        ("kill_worker",),
        statements={("jobs", name): (("order by key", ""),) for name in ("enqueue", "enqueue_shown")},
        # Two requests have to meet within a millisecond.
        seconds=20.0,
    ),
    "swallow_the_notice": Defect(
        "a commit that did not wait for its standby is taken for one",
        "lost",
        (),
        patch=patches.swallow_notices,
        module="sql.connection",
    ),
    "notify_in_the_transaction": Defect(
        "a trigger tells the pools, within the enqueue",
        "failed_by_a_full_notify_queue",
        (),
        script=_NOTIFY_BY_TRIGGER,
    ),
}
