"""Leaving: whatever signal comes, however often and whenever, nothing is stranded."""

import signal
import time

import pytest
from support.effects import Effects
from support.pool_fixtures import StartPool
from support.tables import claims_under_way, counts, ended, look, put, put_one, running, slow_down_claims
from support.waiting import until

from sql.connection import Connection

GRACE = 1
TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


def test_a_job_that_ends_within_the_grace_is_finished(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool().ready()
    job_id = put_one(connection, "gate")
    effects.wait_for("began", job_id)
    pool.send(TERM)
    until(lambda: pool.said("draining"))
    waiting = put_one(connection, "note")
    effects.open_gate(job_id)
    assert pool.ends(5) == 0
    assert (look(connection, job_id).status, look(connection, job_id).attempts) == ("succeeded", 1)
    assert look(connection, waiting).status == "queued", "a pool that drains takes nothing new"
    assert running(connection) == 0


def test_a_job_longer_than_the_grace_is_given_back_and_runs_at_once_in_the_next_pool(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(shutdown_grace_seconds=GRACE).ready()
    job_id = put_one(connection, "gate")
    effects.wait_for("began", job_id)
    following = start_pool(worker_processes=1).ready()
    told_at = time.monotonic()
    pool.send(TERM)
    again = effects.wait_for("began", job_id, times=2)
    assert again.pid in following.workers()
    assert again.attempt == 1, "its attempt was not given back"
    assert GRACE <= again.at - told_at < GRACE + 2
    assert pool.ends(GRACE + 3) == 0
    assert pool.said("outran its deadline") == 0
    assert all("SIGKILL" not in message and "killed" not in message for message in pool.messages())
    effects.open_gate(job_id)
    job = ended(connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("succeeded", 1, None)


def test_a_handler_that_will_not_leave_is_killed_and_its_attempt_given_back(
    start_pool: StartPool, connection: Connection, effects: Effects
) -> None:
    pool = start_pool(shutdown_grace_seconds=GRACE, worker_processes=3).ready()
    stubborn = put(
        connection, "stick", *({"how": how} for how in ("swallows everything", "deep in C", "signals blocked"))
    )
    for job_id in stubborn:
        effects.wait_for("began", job_id)
    told_at = time.monotonic()
    pool.send(TERM)
    assert pool.ends(GRACE + 3) == 0
    assert time.monotonic() - told_at < GRACE + 3
    assert [(look(connection, job_id).status, look(connection, job_id).attempts) for job_id in stubborn] == [
        ("queued", 0)
    ] * 3
    assert connection.fetch_one("select count(*) from windlass.workers where lost_at is null") == (0,)


@pytest.mark.parametrize(
    ("to_all", "numbers"),
    [
        (False, [TERM, TERM]),
        (False, [INT, TERM, INT]),
        (True, [TERM]),
        (True, [TERM, TERM, TERM]),
        (True, [INT, INT]),
        (True, [TERM, QUIT]),
        (False, [QUIT]),
    ],
    ids=str,
)
def test_signals_once_or_more_to_one_or_all_end_it_in_time_with_nothing_lost(
    start_pool: StartPool, connection: Connection, effects: Effects, to_all: bool, numbers: list[signal.Signals]
) -> None:
    pool = start_pool(shutdown_grace_seconds=GRACE, worker_processes=3).ready()
    short, long = put(connection, "gate", {}, {})
    for job_id in (short, long):
        effects.wait_for("began", job_id)
    quick = put(connection, "note", *({} for _ in range(300)))
    effects.open_gate(short)
    told_at = time.monotonic()
    for number in numbers:
        (pool.send_group if to_all else pool.send)(number)
        until(lambda: pool.said("draining"))
    assert pool.ends(GRACE + 3) == 0
    assert time.monotonic() - told_at < GRACE + 3
    assert running(connection) == 0
    assert (look(connection, long).status, look(connection, long).attempts) == ("queued", 0)
    # Given back untouched or finished, and nothing between.
    ran = {effect.job for effect in effects.all("ran")}
    assert len(effects.all("ran")) == len(ran)
    for job in (look(connection, job_id) for job_id in quick):
        assert (job.status, job.attempts) == (("succeeded", 1) if job.id in ran else ("queued", 0))


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.3, 0.5])
def test_a_signal_during_start_up_ends_it_and_strands_nothing(
    start_pool: StartPool, connection: Connection, seconds: float
) -> None:
    put(connection, "note", *({} for _ in range(300)))
    pool = start_pool(shutdown_grace_seconds=GRACE)
    started_at = time.monotonic()
    until(lambda: time.monotonic() - started_at >= seconds)
    pool.send_group(TERM)
    assert pool.ends(GRACE + 3) in (0, -TERM)
    assert running(connection) == 0
    assert set(counts(connection)) <= {"queued", "succeeded"}


def test_a_signal_during_a_claim_gives_back_what_it_took(start_pool: StartPool, connection: Connection) -> None:
    slow_down_claims(connection)
    pool = start_pool(shutdown_grace_seconds=2).ready()
    ids = put(connection, "note", *({} for _ in range(10)))
    until(lambda: claims_under_way(connection), message="a claim is under way")
    pool.send(TERM)
    assert pool.ends(2 + 3) == 0
    assert counts(connection) == {"queued": 10}
    assert [look(connection, job_id).attempts for job_id in ids] == [0] * 10
