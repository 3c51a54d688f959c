"""Shapes of `/jobs`: times, names, numbers in, job JSON out."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from app.problems import field_messages
from app.schemas.jobs import JobFilterSchema, JobSchema, job_text
from sql.rows import Job
from workerpool.kinds import requests
from workerpool.kinds.requests import NewJobSchema

JOB = Job(
    id="01a200c6-e47b-72f2-a97e-1600febf64d7", kind="external", status="queued", attempts=0, max_attempts=3,
    last_error=None, payload='{"a": 1}', run_at="2030-01-01T00:00:00.000000Z", idempotency_key=None,
    created_at="2030-01-01T00:00:00.000000Z", updated_at="2030-01-01T00:00:00.000000Z", queue="default", priority=-1,
    cancel_requested=False, result=None, progress=None, started_at=None, finished_at=None, timeout_seconds=900,
)  # fmt: skip


def loaded(**fields: Any) -> dict[str, Any]:
    result: dict[str, Any] = NewJobSchema().load({"kind": "external", "payload": None, **fields})
    return result


def refused(**fields: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as error:
        loaded(**fields)
    return field_messages(error.value.messages)


# Of each field something right, null, something wrong; and what no job has.
ITEMS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["external", None, 5, "no name!"]),
        "payload": st.sampled_from([None, {}, [1]]),
        "max_attempts": st.sampled_from([1, None, 0, "1"]),
        "idempotency_key": st.sampled_from(["k", None, "", 5]),
        "queue": st.sampled_from(["q", None, "no name!"]),
        "priority": st.sampled_from([0, None, True]),
        "run_at": st.sampled_from(["2030-01-01T00:00:00Z", None, "tomorrow"]),
        "timeout_seconds": st.sampled_from([1, None, 0.5]),
        "typo": st.none(),
    },
) | st.sampled_from([None, 5, "kind", [], ["kind", "payload"]])


@given(ITEMS)
def test_an_item_of_a_bulk_is_judged_as_a_job_alone_whatever_it_leaves_out(item: Any) -> None:
    def judged(load: Callable[[Any], Any]) -> tuple[str, Any]:
        try:
            return "loaded", list(load(item).items())
        except ValidationError as error:
            # In order: the first field is the one that the message names.
            return "refused", list(field_messages(error.messages).items())

    assert judged(requests.load) == judged(NewJobSchema().load)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000000Z"),
        ("2030-01-01t00:00:00z", "2030-01-01T00:00:00.000000Z"),
        ("2030-01-01T00:00:00.5+05:30", "2029-12-31T18:30:00.500000Z"),
        ("2030-01-01T00:00:00.123456789Z", "2030-01-01T00:00:00.123456Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
        ("9000-12-31T23:59:59.999999Z", "9000-12-31T23:59:59.999999Z"),
        ("2024-02-29T12:00:00-00:00", "2024-02-29T12:00:00.000000Z"),
    ],
)
def test_a_time_is_kept_as_the_same_instant_in_utc(given: str, kept: str) -> None:
    assert loaded(run_at=given)["run_at"] == kept


@pytest.mark.parametrize(
    "time",
    [
        "infinity", "-infinity", "now", "epoch", "", "2030-01-01", "2030-01-01T00:00:00", "2030-01-01 00:00:00Z",
        "2030-02-30T00:00:00Z", "2030-01-01T24:00:00Z", "2030-01-01T23:59:60Z", "2030-01-01T00:00:00+25:00",
        "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+01:00", "9001-01-01T00:00:00Z", "9000-12-31T23:59:59-01:00",
        "2030-W01-1T00:00:00Z", "20300101T000000Z", "2030-01-01T00:00:00Z\n",
        "\u0662\u0660\u0663\u0660-01-01T00:00:00Z", 2030, 1e9, True, [], {},
    ],
)  # fmt: skip
def test_what_is_no_time_that_everyone_can_represent_is_refused(time: Any) -> None:
    assert list(refused(run_at=time)) == ["run_at"]


@pytest.mark.parametrize("name", ["max_attempts", "priority", "timeout_seconds"])
@pytest.mark.parametrize(
    "number", [True, False, 1.0, 1.5, "1", "", [], {}, 2**31, -(2**31) - 1, 2**63, 10**4299, 1e300]
)
def test_only_an_integer_in_range_is_an_integer(name: str, number: Any) -> None:
    assert list(refused(**{name: number})) == [name]


@pytest.mark.parametrize(
    ("name", "least", "most"), [("max_attempts", 1, 100), ("priority", -32768, 32767), ("timeout_seconds", 1, 604_800)]
)
def test_the_ends_of_a_range_belong_to_it(name: str, least: int, most: int) -> None:
    for number in (least, most):
        assert loaded(**{name: number})[name] == number
    for number in (least - 1, most + 1):
        assert list(refused(**{name: number})) == [name]


@pytest.mark.parametrize("name", ["kind", "queue"])
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a b", "a\n", "\n", "a\0", "a/b", "a,b", "caf\u00e9", "\uff41", "\u200b", "a" * 129, ".", "..",
        5, None, [], {},
    ],
)  # fmt: skip
def test_a_name_is_ascii_without_surprises(name: str, text: Any) -> None:
    if (name, text) != ("queue", None):
        assert list(refused(**{name: text})) == [name]


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "k\n", "k\r\n", "k\0", "\u00e9", "\U0001f511", "k" * 256, 5, True, [], {}]
)
def test_a_key_is_visible_ascii(key: Any) -> None:
    assert list(refused(idempotency_key=key)) == ["idempotency_key"]


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_any_visible_ascii_is_a_key(key: str) -> None:
    assert loaded(idempotency_key=key)["idempotency_key"] == key


@pytest.mark.parametrize("field", ["id", "status", "attempts", "max_attempt", "Kind", "", "locked_by", "__class__"])
def test_an_unknown_field_is_refused_by_name(field: str) -> None:
    assert list(refused(**{field: 1})) == [field or "body"]


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("-5", 1),
        ("0", 1),
        ("1", 1),
        ("200", 200),
        ("201", 200),
        ("9" * 18, 200),
        ("9" * 19, 200),
        ("-" + "9" * 5000, 1),
        ("1" * 5000, 200),
        ("0" * 5000 + "7", 7),
    ],
)
def test_a_limit_out_of_range_becomes_the_nearest_in_it(limit: str, used: int) -> None:
    assert JobFilterSchema().load({"limit": limit})["limit"] == used


@pytest.mark.parametrize("number", ["", "1.5", "1e2", "+1", " 1", "\uff11", "0x1", "-", "one"])
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_a_number_in_a_query_is_digits(name: str, number: str) -> None:
    with pytest.raises(ValidationError):
        JobFilterSchema().load({name: number})


def test_a_job_is_shown_with_every_field_in_the_documented_order() -> None:
    shown = json.loads(job_text(JOB))
    assert list(shown) == list(JobSchema().fields) == list(Job._fields)
    assert list(shown)[:11] == [
        "id", "kind", "status", "attempts", "max_attempts", "last_error", "payload", "run_at", "idempotency_key",
        "created_at", "updated_at",
    ]  # fmt: skip
    assert shown == {**JOB._asdict(), "payload": {"a": 1}}


@given(st.text(), st.integers(), st.booleans())
def test_no_text_breaks_the_json_of_a_job(text: str, number: int, flag: bool) -> None:
    shown = json.loads(job_text(JOB._replace(last_error=text, priority=number, cancel_requested=flag)))
    assert (shown["last_error"], shown["priority"], shown["cancel_requested"]) == (text, number, flag)


@pytest.mark.parametrize("stored", ["1" * 5000, "[" * 12_000 + "]" * 12_000])
@pytest.mark.parametrize("field", ["payload", "result", "progress"])
def test_a_document_that_cannot_be_read_back_is_replaced(field: str, stored: str) -> None:
    assert "unreadable" in json.loads(job_text(JOB._replace(**{field: stored})))[field]
