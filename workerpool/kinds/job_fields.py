"""The fields that every request to enqueue has, of whichever route; a caller says how its own differ."""

import re
from typing import Final

from marshmallow import fields

from workerpool.kinds.bounds import MOST_ATTEMPTS
from workerpool.kinds.fields import Time, Whole, whole_number

KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_KEY_RULE = "must be 1 to 255 visible ASCII characters"


def max_attempts(description: str) -> fields.Integer:
    """How often the job is tried."""
    return whole_number(1, MOST_ATTEMPTS, allow_none=True, metadata={"description": description})


def idempotency_key(description: str) -> fields.String:
    """What a repeat of the request is known by."""
    return fields.String(
        allow_none=True,
        validate=Whole(f"^{KEY.pattern}$", error=_KEY_RULE),
        error_messages={"invalid": _KEY_RULE},
        metadata={"description": description},
    )


def priority() -> fields.Integer:
    """Which others the job goes before."""
    return whole_number(-32768, 32767, allow_none=True, metadata={"description": "Higher first. Default 0."})


def run_at() -> Time:
    """When the job is due."""
    return Time(allow_none=True, metadata={"description": "Not before this time, RFC 3339. Default: now."})
