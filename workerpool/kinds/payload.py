"""What the payload schemas of the shipped kinds have in common: strict fields whose messages say what to do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate

MOST_ADDRESSES: Final = 50

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)", re.ASCII)
_LONGEST_LOCAL: Final = 64
_LONGEST_ADDRESS: Final = 254
# What no database, protocol or encoding of ours carries.
_NOT_IN_A_TEXT: Final = re.compile("[\x00\ud800-\udfff]")
# Control, line and paragraph separators, surrogates: all that some program takes for the end of a line.
_NOT_IN_A_LINE: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})


class PayloadSchema(Schema):
    """A payload is a JSON object; a field it does not know is refused, since it is usually a typo of a real one."""

    error_messages = {"type": "must be a JSON object"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.error_messages["unknown"] = f"unknown field; the fields are: {', '.join(self.fields)}"


def line(*, longest: int, **options: Any) -> fields.String:
    """A text of 1 to `longest` characters that stays on one line in every program."""
    return fields.String(validate=[validate.Length(1, longest), one_line], **options)


def text(*, longest: int | None = None, shortest: int = 0, **options: Any) -> fields.String:
    """A text of any lines."""
    return fields.String(validate=[validate.Length(shortest, longest), _encodable], **options)


def whole_number(least: int, most: int, **options: Any) -> fields.Integer:
    """A JSON integer; 1.0, "1" and true are refused."""
    return fields.Integer(strict=True, validate=validate.Range(least, most), **options)


def one_line(value: str) -> None:
    """Raises ValidationError for a character that some mail or HTTP program reads as the end of a line."""
    for character in value:
        if unicodedata.category(character) in _NOT_IN_A_LINE:
            raise ValidationError(f"must be one line without control characters; it holds U+{ord(character):04X}")


def mail_address(value: str) -> None:
    """Raises ValidationError unless `value` is one bare address, as `ann@example.org`.

    Quoted local parts, domain literals, display names and encoded words are refused: each of them is read
    differently by different mail programs, and that difference is how a message reaches somebody it was not for.
    """
    found = _ADDRESS.fullmatch(value)
    if found is None or "=?" in value:
        raise ValidationError(
            "must be one bare address such as ann@example.org"
            " (no display name; an international domain in its xn-- form)"
        )
    if len(found["local"]) > _LONGEST_LOCAL or len(value) > _LONGEST_ADDRESS:
        raise ValidationError(
            f"is too long: at most {_LONGEST_LOCAL} characters before the @ and {_LONGEST_ADDRESS} in all"
        )


class MailAddresses(fields.Field[list[str]]):
    """One mail address or a list of 1 to 50 of them; loads as a list in which no mailbox occurs twice."""

    default_error_messages = {
        "invalid": "must be one mail address or a list of them",
        "count": f"must hold 1 to {MOST_ADDRESSES} addresses",
    }

    def __init__(self, *, allow_none: bool = False, **options: Any) -> None:
        shapes: list[dict[str, Any]] = [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_ADDRESSES},
        ]
        shapes += [{"type": "null"}] if allow_none else []
        # For the OpenAPI document, which cannot see into a field of our own.
        super().__init__(allow_none=allow_none, metadata={"anyOf": shapes}, **options)

    def _deserialize(
        self,
        value: Any,
        attr: str | None,  # noqa: ARG002  marshmallow's signature
        data: Mapping[str, Any] | None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> list[str]:
        if not isinstance(value, str | list):
            raise self.make_error("invalid")
        given = [value] if isinstance(value, str) else value
        if not 1 <= len(given) <= MOST_ADDRESSES:
            raise self.make_error("count")
        problems: dict[str, list[str]] = {}
        kept: list[str] = []
        for index, address in enumerate(given):
            try:
                if not isinstance(address, str):
                    raise ValidationError("must be a text")
                mail_address(address)
            except ValidationError as error:
                problems[str(index)] = [str(each) for each in error.messages]
            else:
                kept.append(address)
        if problems:
            raise ValidationError(problems if isinstance(value, list) else problems["0"])
        return each_mailbox_once(kept)


def each_mailbox_once(addresses: Iterable[str]) -> list[str]:
    """The addresses without those that only spell an earlier one's domain differently."""
    kept: dict[tuple[str, str], str] = {}
    for address in addresses:
        local, _, domain = address.rpartition("@")
        kept.setdefault((local, domain.lower()), address)
    return list(kept.values())


def _encodable(value: str) -> None:
    found = _NOT_IN_A_TEXT.search(value)
    if found is not None:
        raise ValidationError(f"must not hold the character U+{ord(found[0]):04X}")
