"""What a handler enqueues exists exactly if the handler itself brings its job to an end."""

import json
import signal
from typing import Any

import pytest
from support.effects import Effects
from support.pool_fixtures import Shared, StartPool
from support.tables import becomes, ended, follow_ups, look, put_one
from support.waiting import until
from support.work import add, count

from sql import jobs
from sql.connection import Connection

REFUSE = "alter table windlass.jobs add constraint refuses check (queue <> 'refused')"


def follow(connection: Connection, *notes: dict[str, Any], max_attempts: int = 1, **payload: Any) -> str:
    return put_one(connection, "follow", {"notes": notes, **payload}, max_attempts=max_attempts)


def test_a_job_that_succeeds_brings_its_follow_ups_and_they_run(shared: Shared) -> None:
    job_id = follow(shared.connection, {}, {"queue": "elsewhere", "priority": 7}, result={"n": 1})
    job = ended(shared.connection, job_id)
    assert (job.status, job.attempts, job.result) == ("succeeded", 1, '{"n": 1}')
    here, elsewhere = follow_ups(shared.connection, job_id)
    assert ended(shared.connection, here.id).status == "succeeded"
    assert (elsewhere.queue, elsewhere.priority, elsewhere.status) == ("elsewhere", 7, "queued")


@pytest.mark.parametrize("then", ["raises Dead", "returns Dead"])
def test_so_does_one_that_its_handler_declares_dead(shared: Shared, then: str) -> None:
    job_id = follow(shared.connection, {}, then=then, max_attempts=3)
    job = ended(shared.connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 1, "never")
    assert len(follow_ups(shared.connection, job_id)) == 1


@pytest.mark.parametrize(
    "then",
    [
        "raises Retry",
        "returns Retry",
        "fails",
        "fails for good",
        "SystemExit",
        "a result that is no JSON",
        "is killed",
    ],
)
def test_any_other_end_brings_none(shared: Shared, then: str) -> None:
    job_id = follow(shared.connection, {}, {}, then=then)
    assert ended(shared.connection, job_id).status == "failed_permanent"
    assert follow_ups(shared.connection, job_id) == []


def test_nor_does_the_deadline(shared: Shared) -> None:
    job_id = put_one(shared.connection, "follow", {"notes": [{}], "then": "sleeps"}, timeout=1, max_attempts=1)
    assert ended(shared.connection, job_id).last_error == "timed out after 1 s"
    assert follow_ups(shared.connection, job_id) == []


def test_nor_does_a_cancel(shared: Shared) -> None:
    job_id = follow(shared.connection, {}, then="is cancelled")
    shared.effects.wait_for("enqueued", job_id)
    jobs.cancel(shared.connection, job_id)
    assert ended(shared.connection, job_id).status == "cancelled"
    assert follow_ups(shared.connection, job_id) == []


def test_of_several_attempts_only_the_last_brings_any(shared: Shared) -> None:
    job_id = follow(shared.connection, {}, then="fails", times=2, max_attempts=3)
    assert ended(shared.connection, job_id).attempts == 3
    assert len(shared.effects.all("enqueued", [job_id])) == 3
    assert len(follow_ups(shared.connection, job_id)) == 1


def test_an_error_of_a_permanent_class_is_a_dead_letter_at_once(shared: Shared) -> None:
    job = ended(shared.connection, follow(shared.connection, then="fails for good", max_attempts=5))
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 1, "KeyError: 'nowhere'")


def test_the_handler_hears_at_once_what_is_wrong(shared: Shared) -> None:
    job_id = follow(shared.connection, {}, {"kind": "nobody"})
    job = ended(shared.connection, job_id)
    assert (job.last_error or "").startswith("EnqueueRefused: kind: there is no kind 'nobody' here; known: die, ")
    assert shared.effects.all("enqueued", [job_id]) == []
    assert follow_ups(shared.connection, job_id) == []


def test_a_key_that_made_the_same_job_before_makes_no_other(shared: Shared) -> None:
    note = {"idempotency_key": "once", "payload": {"of": "whoever is first"}}
    for _ in range(2):
        assert ended(shared.connection, follow(shared.connection, note)).status == "succeeded"
    assert len(follow_ups(shared.connection, "whoever is first")) == 1


def test_a_key_of_another_request_costs_the_follow_up_and_not_the_job(shared: Shared) -> None:
    first = add(shared.connection, idempotency_key="taken", request_hash="of another request")
    job_id = follow(shared.connection, {"idempotency_key": "taken"}, {"priority": 1})
    assert ended(shared.connection, job_id).status == "succeeded"
    assert [each.priority for each in follow_ups(shared.connection, job_id)] == [1]
    until(lambda: shared.pool.said(f"job {job_id} ended without its follow-up of kind note"), message="the warning")
    assert shared.pool.said(f"its idempotency key made job {first} of another request") == 1


def test_what_neither_job_nor_kind_says_comes_from_the_pools_settings(
    start_pool: StartPool, connection: Connection
) -> None:
    start_pool(worker_processes=1, job_timeout_seconds=77).ready()
    job_id = follow(connection, {}, {"timeout_seconds": 5})
    ended(connection, job_id)
    assert [each.timeout_seconds for each in follow_ups(connection, job_id)] == [77, 5]


def test_a_follow_up_wakes_an_idle_pool(start_pool: StartPool, connection: Connection, effects: Effects) -> None:
    start_pool(worker_processes=1).ready()
    start_pool(worker_processes=1, worker_queues="elsewhere", poll_interval_ms=60_000).ready()
    job_id = follow(connection, {"queue": "elsewhere"})
    began = effects.wait_for("began", job_id)
    [note] = until(lambda: follow_ups(connection, job_id), message="it is enqueued")
    assert effects.wait_for("ran", note.id).at - began.at < 2


def test_a_follow_up_the_database_refuses_fails_the_job_for_good_and_leaves_nothing(
    start_pool: StartPool, connection: Connection
) -> None:
    connection.execute(REFUSE)
    pool = start_pool(worker_processes=1).ready()
    workers = pool.registered()
    job_id = follow(connection, {}, {"queue": "refused", "idempotency_key": "k"}, max_attempts=3)
    job = ended(connection, job_id)
    assert (job.status, job.attempts, job.result) == ("failed_permanent", 1, None)
    assert (job.last_error or "").startswith("a follow-up cannot be stored: ")
    dead = ended(connection, follow(connection, {"queue": "refused"}, then="raises Dead", max_attempts=3))
    assert (dead.last_error or "").startswith("never (a follow-up cannot be stored: ")
    assert follow_ups(connection, job_id) == follow_ups(connection, dead.id) == []
    assert count(connection, "idempotency_keys") == 0
    assert pool.registered() == workers


def test_a_worker_that_is_told_to_leave_writes_none(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(worker_processes=1).ready()
    job_id = follow(connection, {}, waits=True)
    effects.wait_for("enqueued", job_id)
    pool.send(signal.SIGQUIT)
    assert pool.ends(10) == 0
    assert becomes(connection, job_id, "queued").attempts == 0
    assert follow_ups(connection, job_id) == []


def test_a_thousand_follow_ups_of_8_mib_are_written_with_their_job(
    start_pool: StartPool, connection: Connection
) -> None:
    start_pool(worker_processes=1).ready()
    text = "0123456789abcdef" * 520
    job_id = follow(connection, *({"queue": "elsewhere", "payload": {"of": "many", "text": text}} for _ in range(1000)))
    job = ended(connection, job_id, 30)
    assert (job.status, job.attempts) == ("succeeded", 1)
    many = follow_ups(connection, "many")
    assert len(many) == 1000
    assert json.loads(look(connection, many[-1].id).payload)["text"] == text
