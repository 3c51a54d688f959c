"""Enqueue: what was given is there, due when it should be, or nothing is there at all."""

import uuid
from collections.abc import Callable

import pytest
from support.work import KIND, add, add_many, claim, count, look, new_job

from sql import jobs
from sql.connection import Connection
from sql.errors import Rejected
from sql.jobs import Enqueued
from sql.rows import Job

NASTY = [
    "",
    "null",
    "NULL",
    "{}",
    "{a,b}",
    'quote " and \\" and \\\\',
    "it's %s %(x)s $1 :name",
    "comma, and; semicolon -- and /* comment */",
    "line\nbreak\ttab\x01\x7f",
    "zażółć gęślą 日本語 🦆 \u200f\ufeff\uffff",
]

REFUSED: list[dict[str, object]] = [
    {"payload": "{"},
    {"payload": r'"\u0000"'},
    {"payload": r'"\ud800"'},
    {"payload": "1e200000"},
    {"payload": '"' + "\0" + '"'},
    {"queue": "a\0b"},
    {"queue": "\ud800"},
    {"kind": "\udfff"},
    {"priority": 32768},
    {"priority": "high"},
    {"max_attempts": 2**31},
    {"timeout_seconds": 2**40},
    {"run_at": "no time"},
    {"run_at": "infinity"},
    {"run_at": "-infinity"},
    {"run_at": "1969-12-31T23:59:59Z"},
    {"run_at": "9001-01-01T00:00:00Z"},
    {"run_at": "99999-01-01T00:00:00Z"},
    {"idempotency_key": "a\0b", "request_hash": "h"},
    {"idempotency_key": "no hash"},
]


def test_a_new_job_is_queued_and_has_no_attempt(connection: Connection) -> None:
    (answer,) = jobs.enqueue(connection, [new_job()])
    assert answer.created
    job = look(connection, answer.id)
    assert (job.status, job.attempts, job.max_attempts, job.kind) == ("queued", 0, 3, KIND)
    assert job.last_error is None
    assert job.cancel_requested is False
    assert (job.result, job.progress, job.started_at, job.finished_at) == (None, None, None, None)


def test_a_job_reads_back_as_it_was_given(connection: Connection) -> None:
    given = new_job(
        queue="mail",
        kind="send",
        priority=-32768,
        max_attempts=100,
        timeout_seconds=604800,
        payload='{"a": [1, null, "b"]}',
        run_at="2999-12-31T23:59:59.123456+02:00",
        idempotency_key="k",
        request_hash="h",
    )
    job = look(connection, add(connection, **given._asdict()))
    assert (job.queue, job.kind, job.priority) == ("mail", "send", -32768)
    assert (job.max_attempts, job.timeout_seconds, job.payload) == (100, 604800, '{"a": [1, null, "b"]}')
    assert job.run_at == "2999-12-31T21:59:59.123456Z"
    assert job.idempotency_key == "k"


def test_a_job_that_is_created_is_shown_as_it_reads_back(any_connection: Connection, subtests: pytest.Subtests) -> None:
    plain = new_job(payload=r'{"b":[1e30, 1.50,null],"a":"\u00e9","aa":-0.0}')
    scheduled = plain._replace(run_at="2031-05-06T07:08:09.12+02:00", priority=-32768, max_attempts=100, queue="mail")
    keyed = scheduled._replace(idempotency_key="k", request_hash="h")
    past = [plain._replace(run_at=f"1999-12-31T23:59:59.{n}Z", priority=n) for n in range(20)]
    for given in ([plain], [scheduled], [keyed], past):
        with subtests.test(str(given)):
            shown = jobs.enqueue_shown(any_connection, given)
            assert shown == [look(any_connection, job.id) for job in shown]
            assert [job.run_at != job.created_at for job in shown if isinstance(job, Job)] == [
                job.run_at is not None for job in given
            ]


def test_a_job_found_by_its_key_is_not_shown(connection: Connection) -> None:
    given = [new_job(idempotency_key=key, request_hash="h") for key in ("k", "l")]
    (first,) = jobs.enqueue_shown(connection, given[:1])
    found, created = jobs.enqueue_shown(connection, given)
    assert found == Enqueued(first.id, created=False, same_request=True)
    assert created == look(connection, created.id)
    other = jobs.enqueue_shown(connection, [given[0]._replace(request_hash="other")])
    assert other == [Enqueued(first.id, created=False, same_request=False)]


def test_without_a_run_at_a_job_is_due_when_it_was_created(connection: Connection) -> None:
    job = look(connection, add(connection))
    assert job.run_at == job.created_at == job.updated_at
    assert [claimed.id for claimed in claim(connection)] == [job.id]


def test_any_storable_text_comes_back_as_it_was(connection: Connection, subtests: pytest.Subtests) -> None:
    for text in NASTY:
        with subtests.test(text):
            queue, kind, key = f"q{text}", f"k{text}", f"i{text}"
            alone = look(connection, add(connection, kind=f"a{text}", queue=queue))
            assert (alone.queue, alone.kind) == (queue, f"a{text}")
            job = look(connection, add(connection, kind=kind, queue=queue, idempotency_key=key, request_hash=text))
            assert (job.queue, job.kind, job.idempotency_key) == (queue, kind, key)
            assert [claimed.kind for claimed in claim(connection, queue=queue, kinds=[kind])] == [kind]


def test_jobs_enqueued_together_are_answered_in_their_order(connection: Connection) -> None:
    given = [new_job(payload=f'{{"n": {n}}}', priority=n % 7) for n in range(500)]
    answers = jobs.enqueue(connection, given)
    found = jobs.find_many(connection, [answer.id for answer in answers])
    assert [found[answer.id].payload for answer in answers] == [job.payload for job in given]
    assert all(answer.created and answer.same_request for answer in answers)


def test_a_job_is_found_by_its_index_also_by_a_session_that_knew_the_tables_empty(
    any_connection: Connection,
) -> None:
    # The planner takes a table that was never vacuumed for ten pages long.
    any_connection.execute("vacuum analyze")
    for _ in range(10):
        assert jobs.find(any_connection, str(uuid.uuid4())) is None
    *_, last = add_many(any_connection, 5000)
    with any_connection.transaction():
        assert look(any_connection, last).id == last
        row = any_connection.fetch_one(
            "select sum(seq_scan) from pg_stat_xact_user_tables where schemaname = 'windlass'"
        )
    assert row == (0,)


def test_nothing_given_makes_nothing(connection: Connection) -> None:
    assert jobs.enqueue(connection, []) == []
    assert jobs.enqueue_shown(connection, []) == []


def test_an_id_is_a_uuid_of_version_7_and_later_jobs_have_greater_ones(any_connection: Connection) -> None:
    ids = [add(any_connection) for _ in range(50)]
    assert ids == sorted(ids)
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


def test_an_id_lies_after_the_floor_of_its_instant(any_connection: Connection) -> None:
    row = any_connection.fetch_one(
        """select windlass.uuid7_floor(before) <= id and id < windlass.uuid7_floor(clock_timestamp() + interval '2 ms')
        from (select clock_timestamp() as before, windlass.uuid7() as id) as made"""
    )
    assert row == (True,)


def test_a_value_the_database_refuses_is_rejected_and_stores_nothing_of_the_call(
    connection: Connection, subtests: pytest.Subtests
) -> None:
    fine = new_job(idempotency_key="fine", request_hash="h")
    for facts in REFUSED:
        with subtests.test(str(facts)):
            with pytest.raises(Rejected):
                jobs.enqueue(connection, [new_job(), new_job(**facts), fine])
            assert [count(connection, table) for table in ("jobs", "ready", "idempotency_keys")] == [0, 0, 0]
            assert connection.usable


def test_a_value_the_database_refuses_is_rejected_of_a_job_alone_too(
    connection: Connection, subtests: pytest.Subtests
) -> None:
    for facts in REFUSED:
        with subtests.test(str(facts)):
            with pytest.raises(Rejected):
                jobs.enqueue(connection, [new_job(**facts)])
            assert [count(connection, table) for table in ("jobs", "ready", "idempotency_keys")] == [0, 0, 0]
            assert connection.usable


def test_a_rejection_does_not_repeat_the_value(connection: Connection) -> None:
    with pytest.raises(Rejected) as refused:
        add(connection, payload='{"password": "hunter2"')
    assert "hunter2" not in str(refused.value)


def test_enqueue_belongs_to_the_callers_transaction(
    connection: Connection, open_another: Callable[[], Connection]
) -> None:
    other = open_another()
    with connection.transaction():
        first = add(connection)
        assert jobs.find(other, first) is None
    assert jobs.find(other, first) is not None

    def enqueue_and_fail() -> None:
        with connection.transaction():
            add_many(connection, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        enqueue_and_fail()
    assert count(other, "jobs") == 1
