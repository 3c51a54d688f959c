"""What a service sends is shown, and never obeyed."""

import json
from datetime import UTC, datetime

import pytest

from app.commands.table import ago, duration
from app.commands.text import plain_json, shown

FOREIGN = "gr\u00fc\u00dfe \u2192 \U0001f680 \u65e5\u672c\u3000\u8a9e"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (FOREIGN, FOREIGN),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("a\nb\r\tc\x00\x7f", "a\\nb\\r\\tc\\x00\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe \u2066x\u2069 \u200f\u061c", "\\u202egnp.exe \\u2066x\\u2069 \\u200f\\u061c"),
        ("a\u2028b\u2029c\u200bd\ufeff", "a\\u2028b\\u2029c\\u200bd\\ufeff"),
        ("\ud800 \U000e0041", "\\ud800 \\U000e0041"),
    ],
)  # fmt: skip
def test_nothing_that_moves_a_cursor_or_turns_the_writing_is_shown_as_it_is(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "\x9b31m\u202e\x7f\U0001f680\\u001b\\n"}',
        ' [1,\t2.50,\r\n 12345678901234567890.10, "\u00fc\\\\\u00fc"]\n',
        "null",
    ],
)
def test_json_is_printed_in_ascii_with_the_same_meaning_to_the_last_digit(text: str) -> None:
    printed = plain_json(text)
    assert all(char == "\n" or " " <= char <= "~" for char in printed)
    assert json.loads(printed, parse_float=str) == json.loads(text, parse_float=str)


def test_what_is_no_json_is_not_printed() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        plain_json("\x1b[31m")


def test_times_are_short_for_people_and_junk_stays_what_it_is() -> None:
    assert [duration(value) for value in (None, "x", -3, 0, 5.25, 59.9, 60, 3661, 90_000, 1e9)] == [
        "", "", "0s", "0s", "5s", "59s", "1m 0s", "1h 1m", "1d 1h", "11574d 1h",
    ]  # fmt: skip
    assert ago("2026-01-31T12:00:00.123456Z") == duration(
        (datetime.now(UTC) - datetime(2026, 1, 31, 12, tzinfo=UTC)).total_seconds()
    )
    assert [ago(value) for value in (None, "", "soon", 5, "2026-01-31")] == ["", "", "soon", "5", "2026-01-31"]
