"""Text that others chose, made storable and safe to print."""

import re
import unicodedata
from typing import Final

TEXT_LIMIT: Final = 8192

_TRUNCATED: Final = " … [truncated]"
# PostgreSQL refuses NUL and lone surrogates; the other control characters would let an error text forge log lines
# or move a terminal's cursor.
_UNSTORABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def shown(text: object) -> str:
    """`text` on one line, without escapes, control characters or anything that turns the direction of writing.

    What must not be shown stands there as Python would write it: `\\n`, `\\x1b`, `\\u202e`.
    """
    said = str(text)
    return said if said.isprintable() else "".join(map(_shown, said))


def _shown(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    return char.encode("unicode_escape").decode()


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` made storable and safe to print, at most `limit` characters long.

    NUL, lone surrogates and control characters other than newline and tab become U+FFFD; what is cut off is marked.
    """
    # Cutting first keeps a 10 MB error text from being scanned whole.
    kept = text[: 2 * limit + 1].replace("\r\n", "\n")
    cleaned = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", kept)
    if len(cleaned) <= limit:
        return cleaned
    if limit <= len(_TRUNCATED):
        return cleaned[: max(0, limit)]
    return cleaned[: limit - len(_TRUNCATED)] + _TRUNCATED
