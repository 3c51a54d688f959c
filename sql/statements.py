"""Loads the named statements of `sql/queries/*.sql`, once, when the module that uses them is imported.

A block is `-- name: claim`, one or more comment lines that say what it does, then one statement with `%(name)s`
parameters. A duplicate name or a block without a purpose is an error at import.
"""

import re
from pathlib import Path

_QUERIES = Path(__file__).parent / "queries"
_HEADER = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


class Statement(str):
    """One statement's text. `name` is also in the text as a comment, so that server logs and views show it."""

    name: str

    def __new__(cls, name: str, text: str) -> "Statement":
        statement = super().__new__(cls, f"/* {name} */ {text}")
        statement.name = name
        return statement


def parse(source: str, origin: str) -> dict[str, Statement]:
    """The statements of one file's text, by name. Raises ValueError that names `origin` and the block."""
    parts = _HEADER.split(source)
    if parts[0].strip().replace("-", ""):
        for line in parts[0].splitlines():
            if line.strip() and not line.startswith("--"):
                raise ValueError(f"{origin}: text before the first '-- name:' line")
    found: dict[str, Statement] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = body.strip().splitlines()
        if not lines or not lines[0].startswith("-- "):
            raise ValueError(f"{origin}: {name}: the line after its name must say what it does")
        if name in found:
            raise ValueError(f"{origin}: {name} is there twice")
        code = [line for line in lines if not line.lstrip().startswith("--")]
        text = "\n".join(code).strip().rstrip(";")
        if not text:
            raise ValueError(f"{origin}: {name} has no statement")
        found[name] = Statement(name, text)
    return found


def load(file: str) -> dict[str, Statement]:
    """The statements of `sql/queries/<file>.sql`, by name."""
    path = _QUERIES / f"{file}.sql"
    return parse(path.read_text(encoding="utf-8"), path.name)
