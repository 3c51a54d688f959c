"""Before a job that will take long, what is finished is written, and that may take long itself."""

import time
from types import SimpleNamespace

from sql.rows import Claimed
from workerpool.board import WORKER, Board
from workerpool.metrics import Tally
from workerpool.prefetch import Pace
from workerpool.worker import Worker


def test_a_lease_that_ended_while_what_was_finished_was_written_starts_no_job() -> None:
    cell = Board.create(1).open_cell(1, WORKER)
    assert cell is not None
    cell.lease_until = time.monotonic() + 60
    job = Claimed("a", "slow", "{}", 1, 7, 3, 900, 0.0, "", 0)
    cell.begin([(job.id, job.fence)])
    began, released = list[Claimed](), list[Claimed]()
    worker = Worker.__new__(Worker)
    worker._cell, worker._pace, worker._tally = cell, Pace(1), Tally()
    worker._pace.slow.add(job.kind)
    worker._settlement = SimpleNamespace(  # type: ignore[assignment]
        flush=lambda: setattr(cell, "lease_until", time.monotonic()),
        release=lambda entries: released.extend(each for _, each in entries),
    )
    worker._leaving = worker._worn_out = lambda: False  # type: ignore[method-assign]
    worker._run = lambda _queue, _index, each, _now: began.append(each)  # type: ignore[method-assign]
    worker._work("default", [job])
    assert began == []
    assert released == [job]
