"""The steward's comparison of tables and board, one look at a time."""

import os
import time

import pytest
from support.work import add, add_many, claim, lease_of, look, register

from sql import leases
from sql.connection import Connection
from sql.errors import Unavailable
from sql.rows import Held
from workerpool.board import WORKER, Board, Cell
from workerpool.duties import reconcile
from workerpool.duties.reconcile import Reconcile


@pytest.fixture
def board() -> Board:
    return Board.create(2)


@pytest.fixture
def cell(board: Board, connection: Connection) -> Cell:
    """Of a living worker, which this process stands for."""
    cell = board.open_cell(1, WORKER)
    assert cell is not None
    cell.pid, cell.incarnation = os.getpid(), register(connection)
    return cell


@pytest.fixture
def steward(connection: Connection, board: Board) -> Reconcile:
    """One that has had its first look, which reads all."""
    steward = Reconcile(board)
    steward.run(connection)
    return steward


def astray(connection: Connection, cell: Cell) -> str:
    """A job of a claim that the server carried out and the worker takes for failed."""
    job_id = add(connection)
    claim(connection, cell.incarnation)
    cell.astray_at = time.monotonic()
    return job_id


def test_what_was_revoked_and_could_not_be_released_is_released_at_the_next_look(
    connection: Connection, board: Board, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_many(connection, 2)
    batch = [lease_of(claimed) for claimed in claim(connection, cell.incarnation, limit=2)]
    cell.begin([(lease.id, lease.fence) for lease in batch])
    assert cell.start(0, now=time.monotonic(), kill_at=0.0)
    monkeypatch.setattr(reconcile, "_LONG_SECONDS", 0.0)

    # The database goes away between the board's word and its own.
    with monkeypatch.context() as outage:
        outage.setattr(reconcile.leases, "release", _away)
        with pytest.raises(Unavailable):
            Reconcile(board).run(connection)
    assert look(connection, batch[1].id).status == "running"

    Reconcile(board).run(connection)
    assert (look(connection, batch[1].id).status, look(connection, batch[1].id).attempts) == ("queued", 0)
    assert look(connection, batch[0].id).status == "running"


def test_what_no_board_shows_is_released_unless_a_claim_is_under_way(
    connection: Connection, board: Board, cell: Cell
) -> None:
    job_id = add(connection)
    claim(connection, cell.incarnation)
    cell.claiming = True
    Reconcile(board).run(connection)
    assert look(connection, job_id).status == "running"
    cell.claiming = False
    Reconcile(board).run(connection)
    assert (look(connection, job_id).status, look(connection, job_id).attempts) == ("queued", 0)


def _away(*_: object) -> set[str]:
    raise Unavailable("gone for a moment")


def test_a_claim_that_failed_is_looked_for_though_nothing_is_on_the_board(
    connection: Connection, steward: Reconcile, cell: Cell
) -> None:
    job_id = add(connection)
    claim(connection, cell.incarnation)
    steward.run(connection)
    assert look(connection, job_id).status == "running", "nothing gave it a reason to look"
    cell.astray_at, cell.claiming = time.monotonic(), True
    steward.run(connection)
    assert look(connection, job_id).status == "running", "its answer may still come"
    cell.claiming = False
    steward.run(connection)
    assert look(connection, job_id).status == "queued"


def test_a_claim_that_failed_is_looked_for_again_when_the_next_one_begins_meanwhile(
    connection: Connection, steward: Reconcile, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = astray(connection, cell)
    read = leases.held_by

    def held_by(conn: Connection, incarnations: list[int]) -> list[Held]:
        cell.claiming = True
        return read(conn, incarnations)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(reconcile.leases, "held_by", held_by)
        steward.run(connection)
    assert look(connection, job_id).status == "running", "it may be of the claim that is under way"
    cell.claiming = False
    steward.run(connection)
    assert look(connection, job_id).status == "queued"


def test_a_claim_that_failed_is_looked_for_again_after_a_look_that_failed(
    connection: Connection, steward: Reconcile, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = astray(connection, cell)
    with monkeypatch.context() as outage:
        outage.setattr(reconcile.leases, "held_by", _away)
        with pytest.raises(Unavailable):
            steward.run(connection)
    steward.run(connection)
    assert look(connection, job_id).status == "queued"


def test_a_claim_that_failed_is_looked_for_again_once_its_stopped_worker_goes_on(
    connection: Connection, steward: Reconcile, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = astray(connection, cell)
    with monkeypatch.context() as stopped:
        # With its lock held.
        stopped.setattr(Cell, "entries", lambda _: None)
        steward.run(connection)
    assert look(connection, job_id).status == "running"
    steward.run(connection)
    assert look(connection, job_id).status == "queued"


def test_a_claim_that_failed_is_found_though_the_server_carries_it_out_seconds_later(
    connection: Connection, steward: Reconcile, cell: Cell
) -> None:
    cell.astray_at = time.monotonic() - 5
    steward.run(connection)
    job_id = add(connection)
    claim(connection, cell.incarnation)
    steward.run(connection)
    assert look(connection, job_id).status == "queued"


def test_a_death_is_kept_until_no_claim_that_failed_can_be_carried_out_any_more(
    connection: Connection, steward: Reconcile, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_AFTERMATH_SECONDS", 0.0)
    cell.astray_at = time.monotonic()
    cell.bury("left", cause="drained")
    steward.run(connection)
    assert cell.dead
    cell.astray_at -= 10
    steward.run(connection)
    assert cell.is_free


def test_what_is_on_the_board_is_found_without_reading_all_that_runs(
    connection: Connection, board: Board, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_LOOK_SECONDS", 0.0)
    steward = Reconcile(board)
    steward.run(connection)
    job_id = add(connection)
    (lease,) = [lease_of(claimed) for claimed in claim(connection, cell.incarnation)]
    cell.begin([(lease.id, lease.fence)])
    assert cell.start(0, now=time.monotonic(), kill_at=0.0)
    connection.execute("update windlass.running set cancel_requested = true")
    monkeypatch.setattr(reconcile.leases, "held_by", _away)
    steward.run(connection)
    assert cell.cancel_requested
    assert look(connection, job_id).status == "running"
