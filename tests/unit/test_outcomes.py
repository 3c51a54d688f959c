"""The endings of a run, and the text that may be stored about them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool.kinds.text import clean_text
from workerpool.outcomes import (
    MAX_DELAY_SECONDS,
    Cancelled,
    Dead,
    Outcome,
    Released,
    Retry,
    Succeeded,
    describe,
)

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]), max_size=300)


def is_storable(text: str) -> bool:
    text.encode("utf-8")
    return not any(character < " " and character not in "\n\t" for character in text)


@given(ANY_TEXT, st.integers(0, 400))
def test_any_text_becomes_storable_and_no_longer_than_allowed(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert is_storable(cleaned)
    assert len(cleaned) <= limit
    assert json.loads(json.dumps(cleaned)) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x00b", "a�b"),
        ("\ud800", "�"),
        ("\x1b[31mred\x1b[0m", "�[31mred�[0m"),
        ("one\r\ntwo\rthree\n\tfour", "one\ntwo�three\n\tfour"),
        ("\x7f\x85\x9f", "���"),
        ("naïve · 日本語 😀", "naïve · 日本語 😀"),
        ("", ""),
    ],
)
def test_what_cannot_be_stored_or_printed_is_replaced(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_a_text_of_ten_megabytes_is_cut_and_says_so() -> None:
    cleaned = clean_text("x" * 10_000_000)
    assert len(cleaned) == 8192
    assert cleaned.endswith("… [truncated]")


def test_an_exception_is_its_type_and_its_message() -> None:
    assert describe(ValueError("no such thing")) == "ValueError: no such thing"
    assert describe(KeyError("a")) == "KeyError: 'a'"
    assert describe(RuntimeError()) == "RuntimeError"


def test_an_exception_whose_message_cannot_be_read_is_still_described() -> None:
    class Spiteful(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(Spiteful()) == "Spiteful: (its message could not be read)"


def test_an_exceptions_message_is_made_storable() -> None:
    assert describe(ValueError("a\x00\ud800b")) == "ValueError: a��b"


def test_a_handler_may_raise_retry_and_dead_and_an_except_exception_sees_them() -> None:
    for outcome in (Retry("later", after=5), Dead("never")):
        assert isinstance(outcome, Exception)
        assert isinstance(outcome, Outcome)


def test_cancelled_passes_an_except_exception_of_the_handler() -> None:
    assert not issubclass(Cancelled, Exception)
    assert issubclass(Cancelled, BaseException)
    assert issubclass(Cancelled, Outcome)


def test_a_reason_is_cleaned_when_it_is_given() -> None:
    assert Retry("a\x00").reason == "a�"
    assert len(Dead("x" * 100_000).reason) == 8192


@pytest.mark.parametrize(
    ("after", "kept"),
    [(None, None), (0, 0.0), (2.5, 2.5), (-3, 0.0), (1e300, MAX_DELAY_SECONDS), (10**400, MAX_DELAY_SECONDS)],
)
def test_a_delay_is_kept_within_what_the_database_can_add(after: float | None, kept: float | None) -> None:
    assert Retry("x", after=after).after == kept


def test_a_delay_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Retry("x", after=float("nan"))


def test_two_successes_with_equal_results_are_equal() -> None:
    assert Succeeded({"a": 1}) == Succeeded({"a": 1}) != Succeeded(None)
    assert Released() == Released()
