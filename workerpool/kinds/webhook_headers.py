"""The headers a webhook's author may add: none that frame the request, sign it, or say who is asking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from marshmallow import ValidationError, fields

_MOST: Final = 32
_LONGEST_NAME: Final = 100
_LONGEST_VALUE: Final = 4_096
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?", re.ASCII)

_FRAMING: Final = frozenset(
    {"host", "connection", "keep-alive", "content-length", "content-type", "content-encoding", "transfer-encoding"}
    | {"te", "trailer", "upgrade", "expect", "accept-encoding"}
)
_IDENTITY: Final = frozenset({"user-agent", "authorization", "cookie", "forwarded", "via", "x-real-ip"})
# Some of these make an inner service believe the request is another's or its own: proxies' headers, and the ones
# cloud metadata services ask for as proof that no outsider wrote the request.
_PREFIXES: Final = ("webhook-", "proxy-", "x-forwarded-", "metadata", "x-metadata-", "x-aws-ec2-", "sec-")


class Headers(fields.Field[dict[str, str]]):
    """A JSON object of up to 32 header names and one-line texts."""

    default_error_messages = {
        "invalid": "must be an object of header names and texts",
        "count": f"must hold at most {_MOST} headers",
    }

    def __init__(self, **options: Any) -> None:
        # For the OpenAPI document, which cannot see into a field of our own.
        shape = {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "maxProperties": _MOST,
        }
        super().__init__(metadata=shape, **options)

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  marshmallow's signature
        data: Mapping[str, Any] | None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        if len(value) > _MOST:
            raise self.make_error("count")
        problems: dict[str, list[str]] = {}
        seen: set[str] = set()
        for name, text in value.items():
            problem = _problem(name, text)
            if problem is None and name.lower() in seen:
                problem = "is given twice"
            if problem is not None:
                problems[name] = [problem]
            seen.add(name.lower())
        if problems:
            raise ValidationError(problems)
        return dict(value)


def _problem(name: str, text: Any) -> str | None:
    lowered = name.lower()
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        return f"is not a header name of 1 to {_LONGEST_NAME} characters"
    if lowered in _FRAMING or lowered in _IDENTITY or lowered.startswith(_PREFIXES):
        return "must not be set: such headers frame, sign or identify a request"
    if not isinstance(text, str) or len(text) > _LONGEST_VALUE or not _VALUE.fullmatch(text):
        return f"must be a text of 1 to {_LONGEST_VALUE} visible ASCII characters on one line"
    return None
