"""What a handler returns, raises or reports, and what becomes of its job."""

import json

import pytest
from support.pool_fixtures import Shared
from support.tables import becomes, ended, look, put, put_one
from support.waiting import until


def shown(shared: Shared, job_id: str) -> object:
    """The job's progress as a reader sees it."""
    return json.loads(look(shared.connection, job_id).progress or "null")


def test_a_result_is_stored(shared: Shared) -> None:
    result = {"n": 1, "list": [None, True, 1.5, "ä€😀"]}
    job = ended(shared.connection, put_one(shared.connection, "note", {"result": result}))
    assert job.status == "succeeded"
    assert job.attempts == 1
    assert json.loads(job.result or "") == result
    assert job.started_at is not None
    assert job.finished_at is not None


def test_no_result_is_null(shared: Shared) -> None:
    job = ended(shared.connection, put_one(shared.connection, "note"))
    assert (job.status, job.result) == ("succeeded", None)


def test_a_result_too_large_for_the_board_is_stored_all_the_same(shared: Shared) -> None:
    job = ended(shared.connection, put_one(shared.connection, "give", {"what": "a large text"}))
    assert json.loads(job.result or "") == "ä" * (400 * 2**10)


@pytest.mark.parametrize(
    ("what", "stored"),
    [("NUL", {"text": "a\ufffdb", "k\ufffd": 1}), ("a lone surrogate", {"text": "\ufffd"})],
)
def test_what_postgresql_cannot_store_in_a_result_is_replaced(shared: Shared, what: str, stored: object) -> None:
    job = ended(shared.connection, put_one(shared.connection, "give", {"what": what}))
    assert job.status == "succeeded"
    assert json.loads(job.result or "") == stored


@pytest.mark.parametrize("what", ["NaN", "infinity", "a set", "a huge text", "a huge number", "too deep", "a circle"])
def test_a_result_that_is_no_json_or_too_long_is_a_dead_letter_that_says_so(shared: Shared, what: str) -> None:
    job = ended(shared.connection, put_one(shared.connection, "give", {"what": what}))
    assert (job.status, job.attempts) == ("failed_permanent", 1)
    assert "the handler's result is" in (job.last_error or "")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("ValueError", "ValueError: no good"),
        ("SystemExit", "SystemExit: 3"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("GeneratorExit", "GeneratorExit"),
        ("no words", "Unspeakable: (its message could not be read)"),
        ("NUL", "ValueError: a\ufffdb\ufffd\ufffd[31m"),
        ("Retry", "later"),
        ("returns Retry", "later"),
    ],
)
def test_whatever_a_handler_raises_is_a_failure_of_its_job_only(shared: Shared, what: str, said: str) -> None:
    workers = shared.pool.registered()
    payload = {"what": what, "times": 1}
    job = ended(shared.connection, put_one(shared.connection, "throw", payload))
    assert (job.status, job.attempts, job.last_error) == ("succeeded", 2, said)
    assert shared.pool.registered() == workers


def test_a_failing_job_is_tried_max_attempts_times(shared: Shared) -> None:
    job_id = put_one(shared.connection, "throw", {"what": "ValueError"}, max_attempts=4)
    job = ended(shared.connection, job_id)
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 4, "ValueError: no good")
    assert [effect.attempt for effect in shared.effects.all("began", [job_id])] == [1, 2, 3, 4]


def test_dead_ends_a_job_at_once(shared: Shared) -> None:
    job = ended(shared.connection, put_one(shared.connection, "throw", {"what": "Dead"}))
    assert (job.status, job.attempts, job.last_error) == ("failed_permanent", 1, "never")


def test_retry_names_its_own_delay(shared: Shared) -> None:
    job_id = put_one(shared.connection, "throw", {"what": "Retry", "times": 1, "after": 0.7})
    job = ended(shared.connection, job_id)
    first, second = shared.effects.all("began", [job_id])
    assert job.status == "succeeded"
    assert 0.7 <= second.at - first.at < 2


def test_progress_is_visible_while_the_job_runs(shared: Shared) -> None:
    values = [{"percent": 10}, {"percent": 20}, {"percent": 30}]
    job_id = put_one(shared.connection, "report", {"values": values, "gap": 0.6})
    seen = [until(lambda value=value: shown(shared, job_id) == value and value) for value in values]
    assert seen == values
    shared.effects.wait_for("began", job_id)
    assert look(shared.connection, job_id).status == "running"
    shared.effects.open_gate(job_id)
    assert ended(shared.connection, job_id).status == "succeeded"


def test_progress_that_comes_too_soon_is_dropped(shared: Shared) -> None:
    job_id = put_one(shared.connection, "report", {"values": [{"n": n} for n in range(100)]})
    shared.effects.wait_for("began", job_id)
    assert shown(shared, job_id) == {"n": 0}
    shared.effects.open_gate(job_id)
    ended(shared.connection, job_id)


@pytest.mark.parametrize("value", ["NUL", "a lone surrogate"])
def test_progress_that_cannot_be_stored_costs_nothing(shared: Shared, value: str) -> None:
    job_id = put_one(shared.connection, "report", {"values": [value, {"percent": 1}], "gap": 0.6})
    shared.effects.wait_for("began", job_id)
    shared.effects.open_gate(job_id)
    job = ended(shared.connection, job_id)
    assert (job.status, job.attempts) == ("succeeded", 1)


def test_an_unreadable_payload_is_a_dead_letter_and_its_neighbours_succeed(shared: Shared) -> None:
    connection = shared.connection
    # Claimed together, once the worker knows that they are quick.
    for one in put(connection, "note", *({"n": n} for n in range(20))):
        ended(connection, one)
    with connection.transaction():
        before = put(connection, "note", {"n": 1}, {"n": 2})
        unreadable = put_one(connection, "note")
        after = put(connection, "note", {"n": 3}, {"n": 4})
        connection.execute(
            """update windlass.jobs set payload = '{"n": 1e5000}' where id = %(id)s::uuid""", id=unreadable
        )
    job = ended(connection, unreadable)
    assert (job.status, job.attempts) == ("failed_permanent", 1)
    assert "the payload cannot be read back: " in (job.last_error or "")
    assert [ended(connection, one).attempts for one in (*before, *after)] == [1, 1, 1, 1]


def test_a_payload_of_another_shape_is_a_dead_letter(shared: Shared) -> None:
    job = ended(shared.connection, put_one(shared.connection, "summarize_text", {"text": 5}))
    assert (job.status, job.attempts) == ("failed_permanent", 1)
    assert job.last_error == "payload validation failed for summarize_text: text: Not a valid string."


def test_a_schema_that_raises_something_else_is_the_end_of_its_job_only(shared: Shared) -> None:
    workers = shared.pool.registered()
    job = ended(shared.connection, put_one(shared.connection, "touchy", {"n": 1}, max_attempts=3))
    assert (job.status, job.attempts) == ("failed_permanent", 1)
    assert (job.last_error or "").endswith("could not be checked: the schema of this kind raised LookupError")
    assert shared.pool.registered() == workers


def test_external_jobs_are_left_alone(shared: Shared) -> None:
    external = put_one(shared.connection, "external", {"any": "thing"})
    assert ended(shared.connection, put_one(shared.connection, "note")).status == "succeeded"
    assert becomes(shared.connection, external, "queued").attempts == 0
