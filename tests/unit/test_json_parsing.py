"""What JSON is accepted, byte by byte."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parsing import parse_json
from app.problems import BadRequest
from workerpool.kinds.documents import MAX_DEPTH

REFUSED = {
    "nothing": b"",
    "white space": b" \n",
    "cut off": b'{"a":',
    "trailing junk": b"{} x",
    "two documents": b"{}{}",
    "a trailing comma": b"[1,]",
    "single quotes": b"{'a':1}",
    "a bare word": b"yes",
    "a comment": b"{} // c",
    "a raw control character": b'"\x01"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "Latin-1": '"\u00e9"'.encode("latin-1"),
    "overlong UTF-8": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "NaN": b"NaN",
    "NaN inside": b'{"a":[NaN]}',
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "1e400": b"[1e400]",
    "-1e400": b"[-1e400]",
    "1e5000": b"1e5000",
    "1e131072": b"1e131072",
    "infinite without an exponent": b"1" * 400 + b".5",
    "an integer of 4,301 digits": b"1" * 4301,
    "an integer of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "NUL": b'"\\u0000"',
    "NUL in a name": b'{"a\\u0000b":1}',
    "NUL behind an escaped backslash": b'"\\\\\\u0000"',
    "half a pair, high": b'"\\ud800"',
    "half a pair, low": b'"\\udc00"',
    "half a pair, upper case": b'"\\uDBFF"',
    "a pair the wrong way round": b'"\\udc00\\ud800"',
    "half a pair in a name": b'{"\\ud800":1}',
    "half a pair behind an escaped backslash": b'"\\\\ud83d\\ude00"',
    "65 levels of lists": b"[" * 65 + b"]" * 65,
    "65 levels of objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "deeper than Python's own limit": b"[" * 100_000 + b"]" * 100_000,
    "never closed": b"[" * 100_000,
    "numbers that fill memory when written out": b"[" + b",".join([b"1e308"] * 4000) + b"]",
    "small numbers that do": b"[" + b",".join([b"1e-300"] * 4000) + b"]",
}
ACCEPTED: dict[str, Any] = {
    "{}": {},
    " [ ] ": [],
    "null": None,
    "true": True,
    "1.0": 1.0,
    "-0": 0,
    "1e22": 1e22,
    "9007199254740993": 9007199254740993,
    "1e-400": 0.0,
    "1.7976931348623157e308": 1.7976931348623157e308,
    "1" * 4300: int("1" * 4300),
    '"\\ud83d\\ude00"': "\U0001f600",
    '"\\\\u0000"': "\\u0000",
    '"\\\\ud800"': "\\ud800",
    '"\\u00e9\\n\\u2028"': "\u00e9\n\u2028",
    '{"a":1,"a":2}': {"a": 2},
    "[" * 64 + "]" * 64: None,
    '{"a":"' + "[{" * 100 + '"}': {"a": "[{" * 100},
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_stored_and_read_back_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_json(body)
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda text: text[:20])
def test_everything_else_is_read_as_it_stands(text: str) -> None:
    value = parse_json(text.encode())
    assert text.startswith("[[") or value == ACCEPTED[text]


@given(documents)
def test_any_document_of_ours_comes_back_the_same(document: Any) -> None:
    for escaped in (True, False):
        assert parse_json(json.dumps(document, ensure_ascii=escaped).encode()) == document


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    _parse_or_refuse(body)


@given(st.text(st.sampled_from('{}[]",:\\u0d8cf1eE+-.0 nultrsaNIy')))
def test_no_text_that_looks_like_json_raises_anything_but_a_refusal(text: str) -> None:
    _parse_or_refuse(text.encode())


@given(st.text(st.characters(categories=["Cs", "Lu"]), min_size=1))
def test_a_text_is_refused_exactly_when_it_cannot_be_encoded(text: str) -> None:
    try:
        text.encode()
        storable = True
    except UnicodeEncodeError:
        # Halves that stand side by side in the right order are one character once they are JSON.
        storable = _encodes(json.loads(json.dumps(text)))
    if storable:
        assert parse_json(json.dumps(text).encode()) == json.loads(json.dumps(text))
    else:
        with pytest.raises(BadRequest):
            parse_json(json.dumps(text).encode())


@given(st.integers(0, 100))
def test_the_limit_of_nesting_is_exact(levels: int) -> None:
    body = b'[1,{"a":' * (levels // 2) + b"[" * (levels % 2) + b"]" * (levels % 2) + b"}]" * (levels // 2)
    body = body.replace(b":}", b":1}")
    if levels <= MAX_DEPTH:
        parse_json(body or b"1")
    else:
        with pytest.raises(BadRequest):
            parse_json(body)


def _parse_or_refuse(body: bytes) -> None:
    try:
        value = parse_json(body)
    except BadRequest:
        return
    assert _readable(value)
    json.dumps(value, ensure_ascii=False).encode()


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _readable(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
