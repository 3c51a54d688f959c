"""Text from a service, made safe to show: it comes from strangers, and a terminal obeys what it is sent."""

import json
import re

from workerpool.kinds.text import shown

__all__ = ["plain_json", "shown"]

_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")


def plain_json(text: str) -> str:
    """JSON text in ASCII, with the same meaning to the last digit. Raises ValueError when it is no JSON."""
    json.loads(text)
    # In JSON, anything beyond ASCII stands within a text; of what is below it, only white space stands outside one.
    return _NOT_PLAIN.sub(lambda found: _escaped(found[0]), text.strip())


def _escaped(char: str) -> str:
    return " " if char in "\t\r" else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
