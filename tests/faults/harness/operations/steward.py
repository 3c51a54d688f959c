"""The steward's duties. What a lost connection keeps one pass from doing the next one does."""

import os
import time
from collections.abc import Iterator

from faults.harness.stage import Stage
from support.waiting import until
from support.work import KIND, add, claim_one, past, register

from sql import hints, jobs, leases, retention, stats, workers
from sql.connection import Connection, connect
from sql.leases import Failure
from workerpool.duties.heartbeat import Heartbeat
from workerpool.duties.prune import Prune
from workerpool.duties.reconcile import Reconcile
from workerpool.duties.rescue import Rescue
from workerpool.duties.wake import Wake
from workerpool.outcomes import Succeeded
from workerpool.wake_pipe import WakePipe

_STEWARD = "windlass steward"
_CRASH = "was killed by signal 9"


def listen(stage: Stage) -> Iterator[None]:
    """It connects, listens and proves that it hears."""
    pipe = WakePipe(4)
    wake = Wake(pipe)

    def another() -> Connection:
        return connect(stage.url, application_name="windlass steward proof")

    session = stage.session(
        _STEWARD,
        opened=False,
        on_connect=lambda conn: wake.listen(
            conn, lambda: connect(stage.url, application_name="windlass steward proof")
        ),
    )
    yield
    session.run(lambda _: None)
    yield
    # Cut after the last message it listens anew, and hints are for those who listen.
    session.run(stats.ping)
    hints.hint(stage.admin, 2)
    # Its own proof may have come before, when the answer to it was what was cut.
    until(lambda: "2" in session.once(wake.hear), message="it hears")
    assert [pipe.woken() for _ in range(3)] == [True, True, False]
    pipe.close()


def beat(stage: Stage) -> Iterator[None]:
    worker = stage.worker()
    session = stage.session(_STEWARD)
    past(stage.admin, "workers", "heartbeat_at", 3600)
    yield
    stage.passes(session, lambda: Heartbeat(worker.board, 30))
    yield
    assert not worker.cell.lost
    assert worker.cell.lease_until < time.monotonic() + 31
    fresh = "select count(*) from windlass.workers where heartbeat_at > now() - interval '1 minute' and lost_at is null"
    assert stage.admin.fetch_one(fresh) == (1,)


def rescue(stage: Stage) -> Iterator[None]:
    session = stage.session(_STEWARD)
    lost, silent = register(stage.admin), register(stage.admin, lease_seconds=0.0)
    wanted = []
    for holder in (lost, None, silent):
        wanted.append(add(stage.admin))
        claim_one(stage.admin, holder)
    past(stage.admin, "running", "lease_expires_at", 3600)
    workers.lose(stage.admin, [lost])
    last = add(stage.admin, max_attempts=1)
    claim_one(stage.admin, lost)
    yield
    # Each pass is another steward's: any rescues for all.
    stage.passes(session, lambda: Rescue(30, lambda: float("-inf")))
    yield
    gone = "worker lost: its heartbeat stopped"
    assert stage.facts(*wanted, last) == [
        ("retrying", 1, gone), ("retrying", 1, "lease expired"), ("retrying", 1, gone), ("failed_permanent", 1, gone),
    ]  # fmt: skip
    assert len(stage.ids("failures")) == 4


def settle_the_dead(stage: Stage) -> Iterator[None]:
    """A worker died with one job finished and not written, one running and one not started."""
    worker = stage.worker()
    session = stage.session(_STEWARD)
    stage.add(3)
    finished, running, waiting = worker.claim()
    worker.settle(0, finished, Succeeded('"done"'))
    worker.cell.start(1, now=time.monotonic(), kill_at=0.0)
    worker.cell.bury(_CRASH, cause="crashed")
    reconcile = Reconcile(worker.board)
    yield
    stage.passes(session, lambda: reconcile)
    yield
    crash = f"worker {worker.cell.incarnation} (pid {os.getpid()}) {_CRASH} while running this job"
    assert stage.facts(finished.id, running.id, waiting.id) == [
        ("succeeded", 1, None), ("retrying", 1, crash), ("queued", 0, None),
    ]  # fmt: skip
    assert stage.job(finished.id).result == '"done"'
    assert len(stage.ids("failures")) == 1


def take_back(stage: Stage) -> Iterator[None]:
    """What waits behind a long job is taken back from a living worker."""
    worker = stage.worker()
    session = stage.session(_STEWARD)
    reconcile = Reconcile(worker.board)
    # After a first look at all that runs it looks only at what is on the board.
    reconcile.run(stage.admin)
    stage.add(3)
    running, *waiting = worker.claim()
    worker.cell.start(0, now=time.monotonic() - 10, kill_at=0.0)
    yield
    stage.passes(session, lambda: reconcile)
    yield
    # A pass that failed between the board's word and the table's is made good by the next.
    Reconcile(worker.board).run(stage.admin)
    assert stage.facts(running.id, *[job.id for job in waiting]) == [("running", 1, None)] + [("queued", 0, None)] * 2
    worker.settlement.settle(0, running, Succeeded(), ended=time.monotonic())
    worker.settlement.flush()
    assert stage.facts(running.id) == [("succeeded", 1, None)]


def prune(stage: Stage) -> Iterator[None]:
    """Retention: an ended job with all that hangs on it, a key's window, a worker long gone."""
    session = stage.session(_STEWARD)
    kept = add(stage.admin)
    old = add(stage.admin, idempotency_key="old", request_hash="r", kind=f"{KIND}2")
    leases.fail(stage.admin, None, [Failure(claim_one(stage.admin, kinds=[f"{KIND}2"]), "boom")])
    assert jobs.cancel(stage.admin, old) == "cancelled"
    _age(stage, old)
    add(stage.admin, idempotency_key="young", request_hash="r", key_seconds=60)
    past(stage.admin, "idempotency_keys", "expires_at", 3600)
    gone = register(stage.admin)
    workers.lose(stage.admin, [gone])
    past(stage.admin, "workers", "lost_at", 30 * 86400)
    young = [job_id for job_id in stage.ids() if job_id != kept][-1]
    yield
    stage.passes(session, lambda: Prune(7))
    yield
    assert stage.ids() == sorted([kept, young])
    assert [stage.admin.fetch_one(f"select count(*) from windlass.{table}") for table in _PRUNED] == [(0,)] * 4  # noqa: S608
    assert retention.prune_done(stage.admin, days=7) == 0


_PRUNED = ("done", "failures", "idempotency_keys", "workers")


def _age(stage: Stage, job_id: str) -> None:
    moved = stage.admin.fetch_one(
        "select overlay(windlass.uuid7_floor(now() - interval '30 days')::text placing substr(%(id)s, 20) from 20)",
        id=job_id,
    )
    assert moved is not None
    for table, column in (("jobs", "id"), ("done", "id"), ("failures", "id"), ("idempotency_keys", "job_id")):
        change = f"update windlass.{table} set {column} = %(new)s::uuid where {column} = %(old)s::uuid"  # noqa: S608
        stage.admin.execute(change, new=moved[0], old=job_id)
    stage.admin.execute("update windlass.done set finished_at = now() - interval '30 days'")


OPERATIONS = {
    "steward connects": listen,
    "beat": beat,
    "rescue": rescue,
    "settle the dead": settle_the_dead,
    "take back": take_back,
    "retention": prune,
}
