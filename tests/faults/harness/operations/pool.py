"""What a worker of the pool says: register, claim, settle. Its session sends again what was not answered."""

from collections.abc import Callable, Iterator
from functools import partial

from faults.harness.stage import PoolWorker, Stage
from support.work import register

from sql import jobs, leases, stats, workers
from sql.leases import Lease
from sql.rows import Claimed
from workerpool.kinds import registry, requests
from workerpool.kinds.requests import Prepared
from workerpool.outcomes import Cancelled, Dead, Outcome, Released, Retry, Succeeded
from workerpool.progress import Progress

_FOLLOWS = "external"


def connect(stage: Stage) -> Iterator[None]:
    """From the first byte to the first answer, encryption asked for."""
    session = stage.session(opened=False, url=stage.encrypted_url)
    yield
    session.run(stats.ping)
    yield
    session.run(stats.ping)


def register_worker(stage: Stage) -> Iterator[None]:
    worker = stage.worker()
    worker.cell.incarnation = 0
    former = stage.ids("workers")
    yield
    worker.worker._renew_lease()
    yield
    made = [each for each in stage.ids("workers") if each not in former]
    assert str(worker.cell.incarnation) in made
    # A try whose answer was lost leaves an identity that nobody uses, and that is lost when its lease is over.
    assert len(made) <= 2
    assert workers.beat(stage.admin, [worker.cell.incarnation]) == {worker.cell.incarnation}


def leave(stage: Stage) -> Iterator[None]:
    worker = stage.worker()
    yield
    worker.worker._session.run(lambda conn: workers.lose(conn, [worker.cell.incarnation]))
    yield
    assert workers.beat(stage.admin, [worker.cell.incarnation]) == set()


def claim(stage: Stage) -> Iterator[None]:
    worker = stage.worker()
    wanted = stage.add(3)
    yield
    claimed = worker.claim()
    yield
    _nothing_is_stranded(stage, worker, claimed, wanted)


def ack_and_claim(stage: Stage, *, again: bool = False) -> Iterator[None]:
    worker = stage.worker()
    done = _finished(stage, worker, 2)
    if again:
        _write_beside(stage, worker, done)
    wanted = stage.add(3)
    yield
    claimed = worker.claim()
    yield
    assert stage.facts(*[job.id for job in done]) == [("succeeded", 1, None)] * 2
    assert [stage.job(job.id).result for job in done] == ["0", "1"]
    _nothing_is_stranded(stage, worker, claimed, wanted)


def _nothing_is_stranded(stage: Stage, worker: PoolWorker, claimed: list[Claimed], wanted: list[str]) -> None:
    """What was claimed is on the board, and the steward gives back what was taken by a claim nobody heard of."""
    held = [job.id for job in claimed]
    worker.glance()
    assert stage.ids("running") == sorted(held)
    rest = sorted(set(wanted) - set(held))
    assert stage.ids("ready") == rest
    assert stage.facts(*held) == [("running", 1, None)] * len(held)
    assert stage.facts(*rest) == [("queued", 0, None)] * len(rest)
    # And what is on the board can be settled, by its fence.
    for index, job in enumerate(claimed):
        worker.settle(index, job, Succeeded())
    worker.settlement.flush()
    assert stage.facts(*held) == [("succeeded", 1, None)] * len(held)
    worker.assert_rid_of_all()


def _claimed(stage: Stage, worker: PoolWorker, count: int) -> list[Claimed]:
    stage.add(count)
    claimed = worker.claim()
    assert len(claimed) == count
    return claimed


def _finished(stage: Stage, worker: PoolWorker, count: int) -> list[Claimed]:
    batch = _claimed(stage, worker, count)
    for index, job in enumerate(batch):
        worker.settle(index, job, Succeeded(str(index)))
    return batch


def _write_beside(stage: Stage, worker: PoolWorker, finished: list[Claimed]) -> None:
    """As a first try did, whose answer was lost; so that the second is cut as well."""
    settles = [(Lease(job.id, job.fence), str(index)) for index, job in enumerate(finished)]
    assert len(leases.ack(stage.admin, worker.cell.incarnation, settles)) == len(finished)


def ack(stage: Stage, *, again: bool = False) -> Iterator[None]:
    worker = stage.worker()
    batch = _finished(stage, worker, 3)
    if again:
        _write_beside(stage, worker, batch)
    yield
    worker.settlement.flush()
    yield
    assert stage.facts(*[job.id for job in batch]) == [("succeeded", 1, None)] * 3
    assert [stage.job(job.id).result for job in batch] == ["0", "1", "2"]
    worker.assert_rid_of_all()


def _settle(outcome: Callable[[], Outcome], status: str, attempts: int, error: str | None) -> Callable[..., object]:
    def operation(stage: Stage) -> Iterator[None]:
        worker = stage.worker()
        (job,) = _claimed(stage, worker, 1)
        if isinstance(outcome(), Cancelled):
            assert jobs.cancel(stage.admin, job.id) == "flagged"
        yield
        worker.settle(0, job, outcome())
        yield
        assert stage.facts(job.id) == [(status, attempts, error)]
        assert len(stage.ids("failures")) == (error is not None)
        worker.assert_rid_of_all()

    return operation


def _settle_with_follow_ups(outcome: Outcome, status: str, error: str | None) -> Callable[..., object]:
    def operation(stage: Stage) -> Iterator[None]:
        worker = stage.worker()
        (job,) = _claimed(stage, worker, 1)
        yield
        worker.settle(0, job, outcome, follow_ups=[_follow_up(None), _follow_up("k")])
        yield
        assert stage.facts(job.id) == [(status, 1, error)]
        follow_ups = [job_id for job_id in stage.ids() if job_id != job.id]
        assert [stage.job(job_id).kind for job_id in follow_ups] == [_FOLLOWS] * 2
        assert len(stage.ids("failures")) == (error is not None)
        worker.assert_rid_of_all()

    return operation


def _follow_up(key: str | None) -> Prepared:
    return requests.prepare(registry.load(), 60, {"kind": _FOLLOWS, "payload": None}, key)


def report_progress(stage: Stage) -> Iterator[None]:
    worker = stage.worker()
    (job,) = _claimed(stage, worker, 1)
    progress = Progress(worker.worker._write_progress)
    yield
    progress.report(job, {"percent": 50})
    yield
    # It is worth no repetition: it is there or not, and the job goes on.
    assert stage.job(job.id).progress in (None, '{"percent": 50}')
    assert stage.facts(job.id) == [("running", 1, None)]
    worker.settle(0, job, Succeeded())
    worker.settlement.flush()
    assert stage.facts(job.id) == [("succeeded", 1, None)]


def mark_lost(stage: Stage) -> Iterator[None]:
    """A worker that was not beaten is lost, whoever says so first."""
    session = stage.session()
    silent, other = register(stage.admin, lease_seconds=0.0), register(stage.admin, lease_seconds=3600.0)
    yield
    session.run(workers.mark_lost)
    yield
    assert workers.beat(stage.admin, [silent, other]) == {other}


OPERATIONS = {
    "connect": connect,
    "register": register_worker,
    "lose itself": leave,
    "mark lost": mark_lost,
    "claim": claim,
    "ack and claim": ack_and_claim,
    "ack": ack,
    "ack, sent again": partial(ack, again=True),
    "ack and claim, sent again": partial(ack_and_claim, again=True),
    "fail": _settle(lambda: Retry("boom", after=60), "retrying", 1, "boom"),
    "fail for good": _settle(lambda: Dead("boom"), "failed_permanent", 1, "boom"),
    "ack cancelled": _settle(Cancelled, "cancelled", 1, None),
    "release": _settle(Released, "queued", 0, None),
    "ack with follow-ups": _settle_with_follow_ups(Succeeded("1"), "succeeded", None),
    "fail for good with follow-ups": _settle_with_follow_ups(Dead("boom"), "failed_permanent", "boom"),
    "report progress": report_progress,
}
