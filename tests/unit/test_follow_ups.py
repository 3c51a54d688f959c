"""What a handler may enqueue, said to it at once."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from marshmallow import Schema, fields
from support.handlers import a_run

from app.services.jobs import Rules, prepare
from workerpool.context import Context, EnqueueRefused
from workerpool.follow_ups import LONGEST_PAYLOAD, LONGEST_TOGETHER, MOST, FollowUps
from workerpool.kinds.registry import Kind, Registry
from workerpool.kinds.requests import NewJobSchema, Prepared

DEEP: list[Any] = []
for _ in range(65):
    DEEP = [DEEP]
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


class Greeting(Schema):
    name = fields.String(required=True)


def greet(_payload: Any, _context: Context) -> None:
    return None


KINDS = Registry(
    [
        Kind("greet", Greeting, greet, queue="polite", max_attempts=7, timeout_seconds=1.5),
        Kind("plain", Greeting, greet),
        Kind("external", None, None),
    ]
)


def collected(*asked: dict[str, Any]) -> tuple[Prepared, ...]:
    follow_ups = FollowUps(KINDS, 900)
    for each in asked:
        follow_ups.add({"kind": "external", "payload": None, **each})
    return follow_ups.take()


def refusal(**asked: Any) -> str:
    with pytest.raises(EnqueueRefused) as caught:
        collected(asked)
    return str(caught.value)


def test_what_is_left_out_comes_from_the_kind_and_then_from_the_settings() -> None:
    greeting, plain = collected(
        {"kind": "greet", "payload": {"name": "Ann"}}, {"kind": "plain", "payload": {"name": "Bo"}}
    )
    assert (greeting.queue, greeting.max_attempts, greeting.timeout_seconds) == ("polite", 7, 2)
    assert (plain.queue, plain.priority, plain.max_attempts, plain.timeout_seconds) == ("default", 0, 3, 900)
    assert (plain.payload, plain.run_at, plain.idempotency_key, plain.request_hash) == (
        '{"name":"Bo"}',
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "external", "payload": {"b": [1, 2.5, "ä"], "a": None}},
        {"kind": "greet", "payload": {"name": "Ann"}, "priority": -5, "run_at": "2030-01-01T00:00:00+02:00"},
        {"kind": "greet", "payload": {"name": "Ann"}, "queue": "q", "max_attempts": 1, "timeout_seconds": 9},
    ],
)
def test_a_follow_up_comes_to_the_same_job_and_hash_as_the_same_request_over_http(asked: dict[str, Any]) -> None:
    over_http = prepare(Rules(KINDS, 900), NewJobSchema().load(asked), "k")
    [follow_up] = collected({**asked, "idempotency_key": "k"})
    assert follow_up._asdict() == {name: getattr(over_http, name) for name in Prepared._fields}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (datetime(2030, 1, 1, 12, tzinfo=UTC), "2030-01-01T12:00:00.000000Z"),
        (datetime(2030, 1, 1, 12, 0, 0, 5, timezone(timedelta(hours=2))), "2030-01-01T10:00:00.000005Z"),
        (datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(seconds=61))), "2030-01-01T11:58:59.000000Z"),
        ("2030-01-01T12:00:00+02:00", "2030-01-01T10:00:00.000000Z"),
    ],
)
def test_a_time_is_a_datetime_with_a_zone_or_a_text(given: Any, kept: str) -> None:
    [follow_up] = collected({"run_at": given})
    assert follow_up.run_at == kept


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kind": "nobody"}, "kind: there is no kind 'nobody' here; known: external, greet, plain"),
        ({"kind": "a b"}, "kind: a kind is 1 to 128"),
        ({"kind": greet}, "kind: must be a text"),
        ({"kind": None}, "kind: "),
        ({"kind": "greet", "payload": {"nam": "Ann"}}, "payload validation failed for greet: "),
        ({"queue": "two words"}, "queue: a queue is 1 to 128"),
        ({"priority": 32768}, "priority: must be from -32768 to 32767"),
        ({"priority": 1.0}, "priority: must be an integer"),
        ({"max_attempts": 0}, "max_attempts: must be from 1 to 100"),
        ({"max_attempts": True}, "max_attempts: must be an integer"),
        ({"timeout_seconds": 604_801}, "timeout_seconds: must be from 1 to 604800"),
        ({"idempotency_key": "a b"}, "idempotency_key: must be 1 to 255 visible ASCII"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at: has no time zone"),
        ({"run_at": "tomorrow"}, "run_at: must be a time like"),
        ({"run_at": 5}, "run_at: must be a time like"),
        ({"run_at": datetime(9001, 1, 1, tzinfo=UTC)}, "run_at: must lie in the years 1970 to 9000"),
        ({"run_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))}, "run_at: must lie in the years"),
        ({"payload": math.nan}, "payload: is not JSON"),
        ({"payload": [math.inf]}, "payload: is not JSON"),
        ({"payload": {1, 2}}, "payload: is not JSON: Object of type set"),
        ({"payload": b"x"}, "payload: is not JSON: Object of type bytes"),
        ({"payload": {("a",): 1}}, "payload: is not JSON"),
        ({"payload": CIRCLE}, "payload: is not JSON"),
        ({"payload": DEEP}, "payload: is nested deeper than 64 levels"),
        ({"payload": 10**5000}, "payload: is not JSON"),
        ({"payload": {"a": "\0"}}, "payload: holds \\u0000"),
        ({"payload": {"\ud800": 1}}, "payload: holds half of a surrogate pair"),
        ({"payload": "x" * LONGEST_PAYLOAD}, "payload: takes 1,048,578 bytes; at most 1,048,576 are possible"),
        ({"size": 1}, "size: is not a field here"),
    ],
)
def test_what_could_never_be_a_job_is_refused_by_the_field_that_is_wrong(asked: dict[str, Any], said: str) -> None:
    assert refusal(**asked).startswith(said)


def test_a_payload_is_checked_as_it_will_be_read_back() -> None:
    [follow_up] = collected({"payload": {1: ("a", "b"), "ä": "😀"}})
    assert follow_up.payload == '{"1":["a","b"],"ä":"😀"}'


def test_a_job_may_enqueue_a_thousand_others_and_no_more() -> None:
    follow_ups = FollowUps(KINDS, 900)
    for n in range(MOST):
        follow_ups.add({"kind": "external", "payload": n})
    with pytest.raises(EnqueueRefused, match="at most 1,000 others"):
        follow_ups.add({"kind": "external", "payload": None})
    assert len(follow_ups.take()) == MOST


def test_their_payloads_are_bounded_together() -> None:
    follow_ups = FollowUps(KINDS, 900)
    payload = "x" * (LONGEST_PAYLOAD - 2)
    for _ in range(LONGEST_TOGETHER // LONGEST_PAYLOAD):
        follow_ups.add({"kind": "external", "payload": payload})
    with pytest.raises(EnqueueRefused, match="8,388,608 bytes together"):
        follow_ups.add({"kind": "external", "payload": None})


def test_a_key_used_twice_makes_one_follow_up_if_it_asks_for_the_same() -> None:
    keyed = {"payload": {"n": 1}, "idempotency_key": "k"}
    assert len(collected(keyed, keyed, {"payload": 2})) == 2
    with pytest.raises(EnqueueRefused, match="this job has used it with a different request"):
        collected(keyed, {"payload": {"n": 2}, "idempotency_key": "k"})


def test_what_comes_after_the_end_is_refused_and_not_lost_in_silence() -> None:
    follow_ups = FollowUps(KINDS, 900)
    assert follow_ups.take() == ()
    with pytest.raises(EnqueueRefused, match="the job has ended"):
        follow_ups.add({"kind": "external", "payload": None})


def test_a_handler_hands_on_all_it_was_given() -> None:
    run = a_run()
    time = datetime(2030, 1, 1, tzinfo=UTC)
    run.context.enqueue(
        "greet", {"name": "Ann"}, queue="q", priority=1, run_at=time, max_attempts=2, timeout_seconds=3,
        idempotency_key="k",
    )  # fmt: skip
    assert run.enqueued == [
        {"kind": "greet", "payload": {"name": "Ann"}, "queue": "q", "priority": 1, "run_at": time, "max_attempts": 2,
         "timeout_seconds": 3, "idempotency_key": "k"}
    ]  # fmt: skip
