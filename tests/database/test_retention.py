"""Retention: what is old enough goes, with all that hangs on it, and nothing that anybody still needs."""

from collections.abc import Callable

from support.waiting import until
from support.work import Meanwhile, add, add_many, at_once, claim, claim_one, count, lease_of, new_job

from sql import dead_letters, jobs, leases, retention
from sql.connection import Connection
from sql.leases import Failure

Opener = Callable[[], Connection]


def ended(conn: Connection, **facts: object) -> str:
    """A job that succeeded at its second attempt."""
    job_id = add(conn, **facts)
    leases.fail(conn, None, [Failure(claim_one(conn), "boom")])
    leases.ack(conn, None, [(claim_one(conn), None)])
    return job_id


def age(conn: Connection, job_id: str, days: int, finished_days: int | None = None) -> str:
    """Makes an ended job `days` old, id and all; its new id."""
    moved = conn.fetch_one(
        "select overlay(windlass.uuid7_floor(now() - make_interval(days => %(days)s))::text"
        " placing substr(%(id)s, 20) from 20)",
        days=days,
        id=job_id,
    )
    assert moved is not None
    for table, column in (("jobs", "id"), ("done", "id"), ("failures", "id"), ("idempotency_keys", "job_id")):
        change = f"update windlass.{table} set {column} = %(new)s::uuid where {column} = %(old)s::uuid"  # noqa: S608
        conn.execute(change, new=moved[0], old=job_id)
    conn.execute(
        "update windlass.done set started_at = null, status = 'cancelled',"
        " finished_at = now() - make_interval(days => %(days)s) where id = %(id)s::uuid",
        days=days if finished_days is None else finished_days,
        id=moved[0],
    )
    return str(moved[0])


def all_in_the_past(conn: Connection) -> bool:
    """Whether every id is of an earlier millisecond than this, so that a retention of no days takes it."""
    young = "select count(*) from windlass.jobs where id >= windlass.uuid7_floor(now())"
    return conn.fetch_one(young) == (0,)


def test_a_job_that_ended_before_the_retention_goes_with_all_that_hangs_on_it(
    connection: Connection, owner: Connection
) -> None:
    old = age(owner, ended(connection, idempotency_key="old", request_hash="r"), days=8)
    young = age(owner, ended(connection, idempotency_key="young", request_hash="r"), days=6)
    assert count(connection, "failures") == 2
    assert retention.prune_done(connection, days=7) == 1
    assert retention.prune_done(connection, days=7) == 0
    assert jobs.find(connection, old) is None
    assert jobs.find(connection, young) is not None
    tables = ("jobs", "done", "failures", "idempotency_keys")
    assert [count(connection, table) for table in tables] == [1, 1, 1, 1]


def test_an_old_job_that_ended_lately_is_kept(connection: Connection, owner: Connection) -> None:
    age(owner, ended(connection), days=100, finished_days=1)
    assert retention.prune_done(connection, days=7) == 0


def test_a_job_that_has_not_ended_is_kept_for_ever(connection: Connection) -> None:
    add_many(connection, 2)
    claim_one(connection)
    until(lambda: all_in_the_past(connection))
    assert retention.prune_done(connection, days=0) == 0
    assert count(connection, "jobs") == 2


def test_a_retention_longer_than_time_itself_deletes_nothing(connection: Connection, owner: Connection) -> None:
    age(owner, ended(connection), days=10_000)
    for days in (36_500, 700_000):
        assert retention.prune_done(connection, days=days) == 0


def test_pruning_is_bounded_and_takes_the_oldest_first(connection: Connection, owner: Connection) -> None:
    ids = [age(owner, ended(connection), days=days) for days in (9, 12, 10, 11)]
    assert retention.prune_done(connection, days=7, limit=3) == 3
    assert [job.id for job in jobs.page(connection).jobs] == [ids[0]]
    assert retention.prune_done(connection, days=7, limit=3) == 1


def test_a_key_used_again_after_its_window_survives_its_first_job(connection: Connection, owner: Connection) -> None:
    first = ended(connection, idempotency_key="k", request_hash="r", key_seconds=60)
    connection.execute("update windlass.idempotency_keys set expires_at = now()")
    second = add(connection, idempotency_key="k", request_hash="r", key_seconds=60)
    age(owner, first, days=8)
    assert retention.prune_done(connection, days=7) == 1
    again = jobs.enqueue(connection, [new_job(idempotency_key="k", request_hash="r")])
    assert (again[0].id, again[0].created) == (second, False)


def test_keys_whose_window_has_ended_go_a_bounded_number_at_a_time(connection: Connection) -> None:
    for n in range(5):
        add(connection, idempotency_key=f"ended {n}", request_hash="r", key_seconds=60)
    connection.execute("update windlass.idempotency_keys set expires_at = now()")
    add(connection, idempotency_key="open", request_hash="r", key_seconds=60)
    add(connection, idempotency_key="for ever", request_hash="r")
    assert [retention.prune_keys(connection, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    left = {row[0] for row in connection.fetch_all("select key from windlass.idempotency_keys")}
    assert left == {"open", "for ever"}
    assert count(connection, "jobs") == 7


def test_a_key_taken_into_use_again_meanwhile_is_not_pruned(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    again = new_job(idempotency_key="k", request_hash="r", key_seconds=3600)
    jobs.enqueue(connection, [again])
    connection.execute("update windlass.idempotency_keys set expires_at = now()")
    with connection.transaction():
        (renewed,) = jobs.enqueue(connection, [again])
        pruning = Meanwhile(other, lambda: retention.prune_keys(other))
        # It may wait for the row or pass it over, and must take it in neither case.
        watcher = open_another()
        until(lambda: pruning.waits(watcher) or pruning.is_over(), message="the pruning waits or is over")
    assert pruning.answer() == 0
    (replay,) = jobs.enqueue(connection, [again])
    assert (replay.id, replay.created) == (renewed.id, False)


def test_pruning_and_a_bulk_of_the_same_keys_do_not_deadlock(
    connection: Connection, owner: Connection, open_another: Opener
) -> None:
    other, watcher = open_another(), open_another()
    for key in "dcba":
        age(owner, ended(connection, idempotency_key=key, request_hash="r"), days=8)
    replays = [new_job(idempotency_key=key, request_hash="r") for key in "abcd"]
    with connection.transaction():
        # A bulk takes its keys in order; between two of them the pruning comes.
        jobs.enqueue(connection, replays[:2])
        pruning = Meanwhile(other, lambda: retention.prune_done(other, days=7))
        until(lambda: pruning.waits(watcher), message="the pruning waits")
        jobs.enqueue(connection, replays[2:])
    assert pruning.answer() == 4
    assert [answer.created for answer in jobs.enqueue(connection, replays)] == [True] * 4


def test_what_is_redriven_meanwhile_is_not_pruned(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    given = add_many(connection, 40)
    leases.fail(
        connection, None, [Failure(lease_of(job), "boom", permanent=True) for job in claim(connection, limit=40)]
    )
    until(lambda: all_in_the_past(connection))
    redriven, pruned = at_once(
        lambda: dead_letters.redrive(connection, given), lambda: [retention.prune_done(other, days=0)]
    )
    assert len(redriven) + pruned[0] == 40
    assert count(connection, "jobs") == count(connection, "ready") == len(redriven)


def test_two_stewards_prune_each_job_once(connection: Connection, open_another: Opener) -> None:
    other = open_another()
    for job_id in add_many(connection, 200):
        jobs.cancel(connection, job_id)
    until(lambda: all_in_the_past(connection))
    one, two = at_once(lambda: retention.prune_done(connection, days=0), lambda: retention.prune_done(other, days=0))
    assert one + two == 200
    assert count(connection, "jobs") == 0
