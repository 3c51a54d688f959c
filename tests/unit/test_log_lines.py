"""Text from outside in every field of a line of the log: it starts no line, moves no cursor, turns no writing."""

import io
import json
import logging
import unicodedata
from collections.abc import Callable

import pytest
from support.figures import Publish

from workerpool.kinds.log_lines import LineFormatter, TextFormatter

HOSTILE = [
    "\n2026-01-01 00:00:00,000 INFO    web: forged", "\r\nforged", "\rforged", "\x0bforged", "\x0cforged", "\x85forged",
    "\u2028forged", "\u2029forged", '\n{"levelname": "INFO", "message": "forged"}', "\x1b[31mred", "\x1b]0;title\x07",
    "\x1b[2J\x1b[H", "\x9b31m", "\x90q\x9c", "\x08\x08\x08", "\x7f", "\x00", "\u202egnp.exe", "\u2066x\u2069", "\u200f",
    "\u061c", "\u200b", "\ufeff", "\ud800", "\U000e0041", '"}\n{"message": "forged', "%s %(message)s {0}", "\\n\\x1b",
]  # fmt: skip
# Each puts a text into another field of a record.
FIELDS: dict[str, Callable[[logging.Logger, str], None]] = {
    "the message": lambda log, text: log.warning(text.replace("%", "%%")),
    "an argument": lambda log, text: log.warning("said %s", text),
    "a field beside it": lambda log, text: log.warning("answered", extra={"route": text}),
    "the request's id": lambda log, text: log.warning("answered", extra={"request_id": text}),
    "an error": lambda log, text: log.warning("failed", exc_info=ValueError(text)),
    "what led to an error": lambda log, text: log.warning("failed", exc_info=_caused(text)),
    "a key": lambda log, text: log.warning("failed", exc_info=KeyError(text)),
    "a stack": lambda log, text: log.warning("failed %s", text, stack_info=True),
}


def _caused(text: str) -> BaseException:
    error = ValueError("no good")
    error.__cause__ = LookupError(text)
    return error


def written(formatter: logging.Formatter, put: Callable[[logging.Logger, str], None], text: str) -> str:
    """What is in the log when `put` has put `text` there."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.getLogger("tests.log_lines")
    log.propagate = False
    log.handlers = [handler]
    try:
        put(log, text)
    finally:
        log.handlers = []
    return stream.getvalue()


def obeyed(text: str) -> set[str]:
    """What of `text` a terminal or a reader of lines would obey, the line ends of a traceback apart."""
    return {char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.mark.parametrize("field", FIELDS)
def test_a_line_for_people_obeys_nothing(publish: Publish, field: str) -> None:
    # All from one place, since a stack says where that is.
    said = {text: written(TextFormatter("web"), FIELDS[field], text) for text in ("plain", *HOSTILE)}
    plain = said.pop("plain").count("\n")
    bad = [text for text, line in said.items() if line.count("\n") != plain or obeyed(line)]
    publish(f"{field}: {len(HOSTILE)} texts, {len(bad)} obeyed")
    assert not bad


@pytest.mark.parametrize("field", FIELDS)
def test_a_line_for_machines_is_one_object_whatever_it_holds(field: str) -> None:
    for text in HOSTILE:
        said = written(LineFormatter("web"), FIELDS[field], text)
        assert len(said.splitlines()) == 1
        assert not obeyed(said)
        record = json.loads(said)
        assert record["process"] == "web"
        assert record["levelname"] == "WARNING"


def test_an_error_that_has_no_words_costs_no_line() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    said = written(TextFormatter("web"), lambda log, _: log.warning("failed", exc_info=Mute()), "")
    assert "failed" in said
    assert "Mute" in said


def test_of_what_led_to_an_error_only_the_type_is_said() -> None:
    said = written(TextFormatter("web"), FIELDS["what led to an error"], "canary")
    assert "LookupError" in said
    assert "ValueError: no good" in said
    assert "canary" not in said
