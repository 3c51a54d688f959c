"""What the statements return as JSON text: documents go out as the database holds them, without being made anew."""

import json
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii


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
    why = unreadable(text)
    return text if why is None else json.dumps({"unreadable": f"the stored value cannot be read back: {why}"})


def unreadable(text: str) -> str | None:
    """Why a stored document cannot be read back: the database keeps what Python's JSON does not read (1e5000)."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return type(error).__name__
    return None
