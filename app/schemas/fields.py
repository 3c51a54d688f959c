"""Fields stricter than marshmallow's own: nothing is converted that was not sent as what it is."""

import re
from typing import Any

from marshmallow import fields

from workerpool.kinds.fields import Time, Whole, name, whole_number

__all__ = ["INT32", "Clamped", "Flag", "Number", "Time", "Whole", "name", "whole_number"]

INT32 = 2**31 - 1
_DIGITS = re.compile(r"-?[0-9]{1,18}")


class Number(fields.Field[int]):
    """An integer in a query string, in ASCII digits."""

    default_error_messages = {"invalid": "must be a whole number"}

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        if not isinstance(value, str) or not _DIGITS.fullmatch(value):
            raise self.make_error("invalid")
        return int(value)


class Clamped(Number):
    """As Number; what is out of range becomes the nearest end of it."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(**options)
        self.least, self.most = least, most

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        return min(max(super()._deserialize(value), self.least), self.most)


class Flag(fields.Boolean):
    """A JSON boolean; 1 and "true" are refused."""

    default_error_messages = {"invalid": "must be true or false"}

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value
