"""What the statements return as JSON text: documents go out as the database holds them, without being made anew."""

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii

from workerpool.kinds import documents


def object_text(fields: Iterable[tuple[str, str]]) -> str:
    """A JSON object of names and JSON texts, in that order."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}"


def scalar_text(value: str | int | None) -> str:
    """A text, number, boolean or None as JSON text."""
    if type(value) is str:
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    return str(value).lower() if type(value) is bool else str(value)


def document_text(text: str | int | None) -> str:
    """A stored document; one that cannot be read back is replaced, so that it spoils nobody else's answer."""
    if text is None:
        return "null"
    text = str(text)
    try:
        documents.read_back(text)
    except documents.Unreadable as error:
        return json.dumps({"unreadable": f"the stored value {error}"})
    return text
