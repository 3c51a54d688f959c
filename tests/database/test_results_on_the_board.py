"""Results wait on the board until they are settled together, and the board has only so much room for them."""

from collections.abc import Callable
from typing import Any

import pytest
from support.work import KIND, add_many, claim, look, register

from sql import leases
from sql.connection import Connection
from workerpool import settlement
from workerpool.board import HEAP_BYTES, WORKER, Board
from workerpool.kinds.registry import Registry
from workerpool.metrics import Tally
from workerpool.outcomes import Succeeded
from workerpool.settlement import Settlement


class Open:
    """A session whose connection is always there."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def run(self, work: Callable[[Connection], Any]) -> Any:
        return work(self._conn)


def test_a_full_board_is_emptied_by_one_settle_and_not_by_one_for_each_result(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, count = 16, 50
    result = '"' + "x" * (HEAP_BYTES // together - 2) + '"'
    given = sorted(add_many(connection, count))
    worker = register(connection)
    cell = Board.create(1).open_cell(1, WORKER)
    assert cell is not None
    cell.incarnation = worker
    claimed = claim(connection, worker, limit=count)
    cell.begin([(job.id, job.fence) for job in claimed])
    sizes, ack = list[int](), leases.ack
    monkeypatch.setattr(settlement.leases, "ack", lambda *asked: sizes.append(len(asked[2])) or ack(*asked))
    settles = Settlement(Open(connection), cell, Registry([]), Tally())  # type: ignore[arg-type]
    for index, job in enumerate(claimed):
        assert cell.start(index, now=1.0, kill_at=100.0)
        settles.settle(index, job, Succeeded(result), ended=1.0)
    settles.flush()
    # The one that found no room goes with the sixteen before it.
    assert sizes == [together + 1, together + 1, count - 2 * (together + 1)]
    assert not cell.holds
    assert [(job.kind, job.status, job.result) for job in (look(connection, job_id) for job_id in given)] == [
        (KIND, "succeeded", result)
    ] * count
