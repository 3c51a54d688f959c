"""Text from a service, made safe to show: it comes from strangers, and a terminal obeys what it is sent."""

import json
import re
import unicodedata

_NOT_PLAIN = re.compile(r"[^\n\x20-\x7e]")


def shown(text: object) -> str:
    """`text` on one line, without escapes, control characters or anything that turns the direction of writing.

    What must not be shown stands there as Python would write it: `\\n`, `\\x1b`, `\\u202e`.
    """
    said = str(text)
    return said if said.isprintable() else "".join(map(_shown, said))


def plain_json(text: str) -> str:
    """JSON text in ASCII, with the same meaning to the last digit. Raises ValueError when it is no JSON."""
    json.loads(text)
    # In JSON, anything beyond ASCII stands within a text; of what is below it, only white space stands outside one.
    return _NOT_PLAIN.sub(lambda found: _escaped(found[0]), text.strip())


def _shown(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    return char.encode("unicode_escape").decode()


def _escaped(char: str) -> str:
    return " " if char in "\t\r" else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"
