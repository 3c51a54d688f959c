"""The settles of the model as the product makes them, and what it must answer when one is sent again."""

import os

from faults.harness.model.states import Stage
from support.work import KIND, from_start

from sql import leases
from sql.connection import Connection
from sql.leases import Failure, Lease, Settled
from workerpool.board import WORKER, Board
from workerpool.duties.reconcile import settle_dead

RESCUED, CRASHED = "rescue", "crash"
_RESCUES = {("worker lost: its heartbeat stopped", None), ("lease expired", None)}
_STAGES = {"release": Stage.CLAIMED, "fail": Stage.STARTED, "ack": Stage.FINISHED}


def settle(conn: Connection, verb: str, worker_id: int | None, lease: Lease, *, together: bool) -> str | None:
    """The state the job went to, None when it is refused; of a release `ready`, whether or not that is so.

    `together`: a worker acks by the statement that also claims.
    """
    if verb == "ack" and together and worker_id is not None:
        terms = {"queue": "nothing is here", "picks": from_start((KIND, 0)), "limit": 1, "worker_id": worker_id}
        count, claimed = leases.ack_and_claim(conn, [(lease, "1")], **terms)
        assert claimed == []
        return "succeeded" if count else None
    if verb == "ack":
        return "succeeded" if leases.ack(conn, worker_id, [(lease, "1")]) else None
    if verb == "ack_cancelled":
        return "cancelled" if leases.ack_cancelled(conn, worker_id, [lease]) else None
    if verb == "release":
        return "ready" if leases.release(conn, worker_id, [lease]) else None
    return leases.fail(conn, worker_id, [_failure(verb, lease)]).get(lease.id)


def settle_for_the_dead(conn: Connection, verb: str, worker_id: int, lease: Lease, *, revoked: bool) -> bool:
    """The steward finds the lease on the board of a worker that died; whether the job was still held under it."""
    cell = Board.create(1).open_cell(1, WORKER)
    assert cell is not None
    cell.incarnation, cell.pid = worker_id, os.getpid()
    cell.begin([lease])
    if revoked:
        cell.give_up([lease.fence])
    if _STAGES[verb] is not Stage.CLAIMED:
        cell.start(0, now=1.0, kill_at=2.0)
    if _STAGES[verb] is Stage.FINISHED:
        cell.finish(0, b"1", now=1.0)
    cell.bury("was killed by SIGKILL", cause="crashed")
    held = [row for row in leases.held_by(conn, [worker_id]) if row.id == lease.id]
    settle_dead(conn, cell, held)
    return bool(held)


def check_known(conn: Connection, lease: Lease, verb: str) -> None:
    """AssertionError unless a lease that was settled by `verb`, or by a rescue or a burial, is known so."""
    before = leases.settled_before(conn, [lease]).get(lease.id)
    assert before is not None, f"nobody knows of the {verb} under {lease.fence}"
    if verb in ("ack", "ack_cancelled"):
        right = before == Settled("succeeded" if verb == "ack" else "cancelled", None)
    elif verb == "release":
        right = before.error is None and before.state in ("ready", "released", "cancelled")
    elif verb == RESCUED:
        right = (before.error, before.permanent) in _RESCUES
    elif verb == CRASHED:
        right = "while running this job" in (before.error or "")
    else:
        right = before.is_report(_failure(verb, lease))
    assert right, f"{verb} under {lease.fence} is known as {before}"


def _failure(verb: str, lease: Lease) -> Failure:
    return Failure(lease, f"under {lease.fence}", permanent=verb == "fail for good")
