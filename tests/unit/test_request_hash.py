"""When two requests under one key count as the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.jobs import Rules, prepare
from sql.jobs import NewJob
from workerpool.kinds import registry
from workerpool.kinds.requests import NewJobSchema

RULES = Rules(registry.load(), 900)
REQUEST = {"kind": "external", "payload": {"b": [1, 2.5], "a": "x"}, "idempotency_key": "k"}


def prepared(asked: dict[str, Any], key: str | None = None) -> NewJob:
    return prepare(RULES, NewJobSchema().load(asked), key)


def hash_of(**changes: Any) -> str | None:
    return prepared({**REQUEST, **changes}).request_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"idempotency_key": "another"},
        {"payload": {"a": "x", "b": [1, 2.5]}},
        {"queue": None, "priority": None, "max_attempts": None, "run_at": None, "timeout_seconds": None},
    ],
    ids=["the key", "the order of names", "null for absent"],
)
def test_what_asks_for_the_same_has_the_same_hash(changes: dict[str, Any]) -> None:
    assert hash_of(**changes) == hash_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "summarize_text", "payload": {"text": "x"}},
        {"payload": {"b": [2.5, 1], "a": "x"}},
        {"payload": {"b": [True, 2.5], "a": "x"}},
        {"payload": {"b": ["1", 2.5], "a": "x"}},
        {"payload": None},
        {"queue": "q"},
        {"priority": 1},
        {"max_attempts": 4},
        {"run_at": "2030-01-01T00:00:00Z"},
        {"timeout_seconds": 5},
    ],
    ids=lambda changes: next(reversed(changes)),
)
def test_what_asks_for_something_else_has_another(changes: dict[str, Any]) -> None:
    assert hash_of(**changes) != hash_of()


def test_one_instant_written_in_two_ways_is_the_same_request() -> None:
    assert hash_of(run_at="2030-01-01T00:00:00Z") == hash_of(run_at="2030-01-01T02:00:00.000+02:00")


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers() | st.text("ab\\\"'")))
def test_the_order_of_names_never_matters(payload: dict[str, Any]) -> None:
    assert hash_of(payload=payload) == hash_of(payload=dict(reversed(payload.items())))


def test_without_a_key_there_is_nothing_to_compare() -> None:
    job = prepared({**REQUEST, "idempotency_key": None})
    assert (job.idempotency_key, job.request_hash) == (None, None)


def test_the_header_beats_the_body() -> None:
    assert prepared(REQUEST, "of the header").idempotency_key == "of the header"
