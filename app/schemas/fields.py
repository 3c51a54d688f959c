"""Fields stricter than marshmallow's own: nothing is converted that was not sent as what it is."""

import re
from typing import Any

from marshmallow import fields

_DIGITS = re.compile(r"(-?)0*([0-9]+)")
_MOST_DIGITS = 18


class Number(fields.Field[int]):
    """An integer in a query string, in ASCII digits."""

    default_error_messages = {"invalid": "must be a whole number"}

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        found = _DIGITS.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise self.make_error("invalid")
        # int() refuses thousands of digits. What is cut from so many leaves the number outside every range of ours.
        return int(found[1] + found[2][:_MOST_DIGITS])


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
