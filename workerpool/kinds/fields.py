"""Fields stricter than marshmallow's own, for requests: nothing is converted that was not sent as what it is.

Web and pool both read requests: the web those of clients, the pool those of handlers.
"""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from workerpool.kinds.bounds import NAME, NAME_RULE

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9001, 1, 1, tzinfo=UTC)


class Whole(validate.Validator):
    """A pattern the whole text must fit. `^` and `$` stand in it for readers of the OpenAPI document only."""

    def __init__(self, pattern: str, *, error: str) -> None:
        # apispec documents a validator that has a `regex`
        self.regex = re.compile(pattern, re.ASCII)
        self.refusal = error

    def __call__(self, value: str) -> str:
        """`value`, or ValidationError; unlike `$` alone it lets no newline through at the end."""
        if self.regex.fullmatch(value) is None:
            raise ValidationError(self.refusal)
        return value


def whole_number(least: int, most: int, **options: Any) -> fields.Integer:
    """A JSON integer; 1.0, "1" and true are refused."""
    return fields.Integer(
        strict=True,
        validate=validate.Range(least, most, error=f"must be from {least} to {most}"),
        error_messages={"invalid": f"must be an integer from {least} to {most}"},
        **options,
    )


def name(what: str, **options: Any) -> fields.String:
    """A queue's or a kind's name."""
    return fields.String(
        validate=Whole(f"^{NAME}$", error=f"a {what} is {NAME_RULE}"),
        error_messages={"invalid": "must be a text"},
        **options,
    )


class Time(fields.Field[str]):
    """An RFC 3339 time; loads as text in UTC, within the years that PostgreSQL and every client can represent."""

    default_error_messages = {
        "invalid": "must be a time like 2026-01-31T12:00:00Z",
        "range": "must lie in the years 1970 to 9000 in UTC",
    }

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> str:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise self.make_error("invalid")
        try:
            given = datetime.fromisoformat(value.upper())
        except ValueError as error:
            raise self.make_error("invalid") from error
        try:
            time = given.astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("range") from error
        if not _FIRST <= time < _LAST:
            raise self.make_error("range")
        return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
