"""What JSON we accept: checked once, here, because PostgreSQL stores things that Python cannot read back.

Strict UTF-8 and RFC 8259 (no NaN, no Infinity), and beyond it: finite numbers, integers of at most 4,300 digits
(Python's own limit), no NUL and no lone surrogate in any text, at most 64 levels, and numbers that stay within 1 MiB
when written out as PostgreSQL does. Of a name given twice in one object the last counts.
"""

import json
import math
import re
from typing import Any

MAX_DEPTH = 64
# An escaped backslash before it would make it plain text, so the backslashes are taken in pairs.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Not `decode`, which also looks for space around the document: 0.15 µs instead of 0.55.
_decode = json.JSONDecoder().raw_decode
# 1e308 is five bytes here and 309 digits in jsonb: without a limit one small body fills the memory of whoever lists it.
_MAX_WRITTEN_OUT = 1024 * 1024


class Unreadable(Exception):
    """A document that is not taken. The text goes on from its name (`is not JSON: …`) and repeats nothing of it."""


def read(document: bytes) -> Any:
    """The value of a JSON document. Raises Unreadable."""
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8: byte {error.start} does not fit") from error
    numbers = _Numbers()
    try:
        value = json.loads(text, parse_float=numbers.parse_float, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise Unreadable(_TOO_DEEP) from error
    except ValueError as error:
        raise Unreadable("holds an integer of more than 4,300 digits") from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text:
        _check_escapes(text, value)
    return value


def read_back(stored: str) -> Any:
    """The value of a document as jsonb prints it, which keeps what Python's JSON does not read (1e5000, nesting beyond
    a thousand) when another client put it there. Raises Unreadable.
    """
    try:
        return _decode(stored)[0]
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"cannot be read back: {type(error).__name__}") from None


class _Numbers:
    """Reads the numbers with a fraction or an exponent, and adds up what they take when written out."""

    def __init__(self) -> None:
        self._written_out = 0

    def parse_float(self, text: str) -> float:
        value = float(text)
        size = abs(value)
        if 1e-4 <= size < 1e16 or size == 0:
            return value
        if size == math.inf:
            raise Unreadable("holds a number beyond 1.8e308, which cannot be read back")
        self._written_out += int(abs(math.log10(size)))
        if self._written_out > _MAX_WRITTEN_OUT:
            raise Unreadable("holds more numbers with large exponents than can be stored")
        return value


def _refuse_constant(name: str) -> None:
    raise Unreadable(f"holds {name}, which is not JSON")


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"


def _check_depth(value: Any) -> None:
    # Level by level, not by recursion, and stopping at the limit: what the parser accepts may be 900 deep.
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            if type(container) is dict:
                inner.extend(container.values())
            elif type(container) is list:
                inner.extend(container)
        level = [child for child in inner if type(child) is dict or type(child) is list]
        if not level:
            return
    raise Unreadable(_TOO_DEEP)


def _check_escapes(text: str, value: Any) -> None:
    if "\\u0000" in text and _NUL.search(text):
        raise Unreadable("holds \\u0000 in a text, which cannot be stored")
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise Unreadable("holds half of a surrogate pair in a text, which cannot be stored") from error
