"""Loads the named statements of `sql/queries/*.sql`, once, when the module that uses them is imported.

A block is `-- name: claim`, one or more comment lines that say what it does, then one statement with `%(name)s`
parameters. A duplicate name or a block without a purpose is an error at import. A block with a line
`-- with: ack, claim` goes on after the CTEs of these, so that one statement can do what two do and no rule is written
twice.
"""

import re
from pathlib import Path

_QUERIES = Path(__file__).parent / "queries"
_HEADER = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
_WITH = re.compile(r"^-- with: *(\w+(?:, *\w+)*) *$", re.MULTILINE)
# The statement's own select is the only one that is not indented.
_CTES = re.compile(r"with (.+?)\n(?=select\b)", re.DOTALL)


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
        borrowed = _WITH.search(body)
        if borrowed:
            ctes = ",\n".join(_ctes_of(found, other, f"{origin}: {name}") for other in re.split(", *", borrowed[1]))
            text = f"with {ctes}\n{text}"
        found[name] = Statement(name, text)
    return found


def _ctes_of(found: dict[str, Statement], name: str, where: str) -> str:
    ctes = _CTES.search(found[name]) if name in found else None
    if ctes is None:
        raise ValueError(f"{where}: no statement before it is called {name} and begins with CTEs")
    return ctes[1]


def load(file: str) -> dict[str, Statement]:
    """The statements of `sql/queries/<file>.sql`, by name."""
    path = _QUERIES / f"{file}.sql"
    return parse(path.read_text(encoding="utf-8"), path.name)
