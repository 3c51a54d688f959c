"""Somebody who may do anything deletes and edits rows under a pool at work: no other job is hurt."""

import pytest
from faults.harness.arena import Arena
from support.tables import look, put, put_one
from support.waiting import until

NEIGHBOURS = 60
EDITS = {
    "the lease is deleted": ["delete from windlass.running where id = %(id)s"],
    "the lease is somebody else's": ["update windlass.running set fence = nextval('windlass.fence') where id = %(id)s"],
    "the job is deleted": [
        "delete from windlass.running where id = %(id)s",
        "delete from windlass.jobs where id = %(id)s",
    ],
    "the payload becomes unreadable": ["""update windlass.jobs set payload = '{"n": 1e5000}' where id = %(id)s"""],
    "the attempts are spent": ["update windlass.running set attempts = 100 where id = %(id)s"],
    "all workers are deleted": ["delete from windlass.workers where %(id)s is not null"],
    "all workers are lost": ["update windlass.workers set lost_at = now() where %(id)s is not null"],
}


@pytest.mark.parametrize("edit", EDITS)
def test_rows_deleted_or_edited_by_hand_hurt_no_other_job_and_no_process(arena: Arena, edit: str) -> None:
    connection = arena.connection
    pool = arena.pool(worker_processes=2).ready()
    everyone = set(pool.everyone())
    touched = put_one(connection, "gate", max_attempts=3)
    arena.effects.wait_for("began", touched)
    before = put(connection, "note", *({"seconds": 0.002} for _ in range(NEIGHBOURS)), max_attempts=3)
    for statement in EDITS[edit]:
        connection.execute(statement, id=touched)
    after = put(connection, "note", *({} for _ in range(NEIGHBOURS)), max_attempts=3)
    arena.effects.open_gate(touched)
    for job_id in (*before, *after):
        until(lambda job_id=job_id: look(connection, job_id).status == "succeeded", 20, "the neighbours are done")
    until(lambda: set(arena.unfinished()) <= {touched}, 20, "nothing else waits")
    assert set(pool.everyone()) == everyone
    assert "Traceback" not in pool.log
    # What becomes of the job itself is up to whoever took its rows in hand.
    for table in ("running", "ready", "done", "failures", "jobs"):
        connection.execute(f"delete from windlass.{table} where id = %(id)s", id=touched)  # noqa: S608
