"""One key, one job: whoever asks, however often, at whatever instant."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from support.waiting import until
from support.work import Meanwhile, at_once, count, look, new_job

from sql import jobs, retention
from sql.connection import Connection
from sql.errors import StorageError
from sql.jobs import Enqueued

Opener = Callable[[], Connection]


def ask(conn: Connection, key: str = "k", *, request: str = "r", seconds: int | None = None) -> Enqueued:
    """One enqueue with a key."""
    job = new_job(idempotency_key=key, request_hash=request, key_seconds=seconds)
    return jobs.enqueue(conn, [job])[0]


def expire(conn: Connection, key: str = "k") -> None:
    """The key's window has just ended."""
    conn.execute("update windlass.idempotency_keys set expires_at = now() where key = %(key)s", key=key)


def test_the_same_key_again_answers_the_first_job(connection: Connection) -> None:
    first, again = ask(connection), ask(connection)
    assert (first.created, again.created) == (True, False)
    assert first.id == again.id
    assert again.same_request
    assert count(connection, "jobs") == count(connection, "ready") == 1


def test_a_key_used_for_another_request_is_said_so_and_changes_nothing(connection: Connection) -> None:
    first, other = ask(connection), ask(connection, request="another")
    assert (other.id, other.created, other.same_request) == (first.id, False, False)
    assert ask(connection).same_request


def test_different_keys_make_different_jobs(connection: Connection) -> None:
    assert ask(connection, "a").id != ask(connection, "A").id != ask(connection, "a ").id
    assert count(connection, "jobs") == 3


def test_a_key_outlives_the_end_of_its_job(connection: Connection) -> None:
    first = ask(connection)
    jobs.cancel(connection, first.id)
    assert ask(connection) == Enqueued(first.id, created=False, same_request=True)


def test_a_key_without_a_window_lives_as_long_as_its_job(connection: Connection) -> None:
    first = ask(connection)
    jobs.cancel(connection, first.id)
    assert retention.prune_keys(connection) == 0
    assert ask(connection).id == first.id
    until(lambda: retention.prune_done(connection, days=0) == 1, message="the job is pruned")
    second = ask(connection)
    assert second.created
    assert second.id != first.id


def test_a_key_whose_window_has_ended_makes_a_new_job_for_any_request(connection: Connection) -> None:
    first = ask(connection, seconds=3600)
    assert not ask(connection, seconds=3600).created
    expire(connection)
    second = ask(connection, request="another", seconds=3600)
    assert second.created
    assert second.same_request
    assert second.id != first.id
    assert ask(connection, request="another").id == second.id
    assert look(connection, first.id).status == "queued"


def test_a_window_is_judged_by_the_instant_of_the_transaction_alone(connection: Connection) -> None:
    # A statement that waited for a row must not judge one column before the end of the window and the next after it.
    with connection.transaction():
        first = ask(connection, seconds=1)
        over = "select clock_timestamp() > expires_at from windlass.idempotency_keys"
        until(lambda: connection.fetch_one(over) == (True,), message="the clock has passed the window")
        assert ask(connection, seconds=1) == Enqueued(first.id, created=False, same_request=True)
    assert ask(connection, seconds=1).created


def test_a_replay_does_not_prolong_the_window(connection: Connection) -> None:
    expiry = "select expires_at from windlass.idempotency_keys"
    ask(connection, seconds=3600)
    before = connection.fetch_one(expiry)
    ask(connection, seconds=7200)
    assert connection.fetch_one(expiry) == before


def test_sixty_four_clients_with_one_key_make_one_job_and_all_learn_its_id(open_another: Opener) -> None:
    connections = [open_another() for _ in range(64)]
    answers = at_once(*[lambda conn=conn: ask(conn) for conn in connections])
    assert len({answer.id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    assert all(answer.same_request for answer in answers)
    # The loser's statement cannot see the winner's job, but its next one can.
    assert look(connections[0], answers[0].id).status == "queued"
    assert count(connections[0], "jobs") == count(connections[0], "ready") == 1


def test_when_a_window_ends_under_many_clients_exactly_one_new_job_is_made(open_another: Opener) -> None:
    connections = [open_another() for _ in range(16)]
    made = [ask(connections[0], seconds=3600).id]
    for _ in range(10):
        expire(connections[0])
        answers = at_once(*[lambda conn=conn: ask(conn, seconds=3600) for conn in connections])
        assert sum(answer.created for answer in answers) == 1
        assert len({answer.id for answer in answers}) == 1
        made.append(answers[0].id)
    assert len(set(made)) == len(made) == count(connections[0], "jobs")


def test_who_comes_second_waits_for_the_first_and_reads_its_job(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()
    with connection.transaction():
        first = ask(connection)
        second = Meanwhile(other, lambda: ask(other))
        until(lambda: second.waits(watcher), message="the second waits")
    answer = second.answer()
    assert answer == Enqueued(first.id, created=False, same_request=True)
    assert look(other, answer.id).status == "queued"


def test_when_the_first_is_rolled_back_the_second_makes_the_job(connection: Connection, open_another: Opener) -> None:
    other, watcher = open_another(), open_another()

    def enqueue_and_fail() -> Meanwhile:
        with connection.transaction():
            ask(connection)
            second.append(Meanwhile(other, lambda: ask(other)))
            until(lambda: second[0].waits(watcher), message="the second waits")
            raise ZeroDivisionError

    second: list[Meanwhile] = []
    with pytest.raises(ZeroDivisionError):
        enqueue_and_fail()
    assert second[0].answer().created
    assert count(connection, "jobs") == 1


def test_a_replay_writes_so_that_it_waits_for_a_standby_like_the_first(connection: Connection) -> None:
    position = "select pg_current_wal_insert_lsn()"
    version = "select xmin::text from windlass.idempotency_keys"
    ask(connection)
    before, row = connection.fetch_one(position), connection.fetch_one(version)
    assert not ask(connection).created
    assert connection.fetch_one(version) != row
    moved = "select pg_current_wal_insert_lsn() > %(before)s::pg_lsn"
    assert before is not None
    assert connection.fetch_one(moved, before=before[0]) == (True,)


def test_a_bulk_of_jobs_with_and_without_keys_is_answered_item_by_item(connection: Connection) -> None:
    known = ask(connection, "known")
    expired = ask(connection, "expired", seconds=3600)
    expire(connection, "expired")
    answers = jobs.enqueue(
        connection,
        [
            new_job(payload="1"),
            new_job(payload="2", idempotency_key="known", request_hash="r"),
            new_job(payload="3", idempotency_key="new", request_hash="r"),
            new_job(payload="4"),
            new_job(payload="5", idempotency_key="known too", request_hash="r"),
            new_job(payload="6", idempotency_key="expired", request_hash="other", key_seconds=60),
        ],
    )
    assert [answer.created for answer in answers] == [True, False, True, True, True, True]
    assert all(answer.same_request for answer in answers)
    assert answers[1].id == known.id
    assert answers[5].id != expired.id
    payloads = [look(connection, answer.id).payload for answer in answers]
    assert payloads == ["1", "{}", "3", "4", "5", "6"]
    assert len({answer.id for answer in answers}) == 6
    assert count(connection, "jobs") == 7


def test_in_a_bulk_only_the_item_with_a_mismatch_is_said_to_differ(connection: Connection) -> None:
    ask(connection, "b")
    given = [new_job(idempotency_key=key, request_hash="other") for key in ("c", "b", "a")]
    assert [answer.same_request for answer in jobs.enqueue(connection, given)] == [True, False, True]


def test_a_key_twice_in_one_call_is_refused_and_nothing_is_stored(connection: Connection) -> None:
    twice = [new_job(idempotency_key="k", request_hash="r")] * 2
    with pytest.raises(StorageError):
        jobs.enqueue(connection, [new_job(), *twice])
    assert count(connection, "jobs") == count(connection, "idempotency_keys") == 0


def test_overlapping_keys_in_opposite_order_do_not_deadlock(open_another: Opener) -> None:
    connections = [open_another() for _ in range(8)]
    keys = [f"key {n}" for n in range(60)]

    def work(index: int, conn: Connection) -> dict[str, str]:
        seen: dict[str, str] = {}
        for turn in range(12):
            mine = keys[turn * 4 : turn * 4 + 16]
            mine = mine[::-1] if index % 2 else mine
            given = [new_job(idempotency_key=key, request_hash="r", key_seconds=3600) for key in mine]
            for key, answer in zip(mine, jobs.enqueue(conn, given), strict=True):
                assert seen.setdefault(key, answer.id) == answer.id
        return seen

    answers = at_once(*[lambda i=i, conn=conn: work(i, conn) for i, conn in enumerate(connections)])
    assert all(one == other for one, other in pairwise(answers))
    assert count(connections[0], "jobs") == len(answers[0]) == 60
