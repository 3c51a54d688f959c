"""Named statements: how a file of them is read, and what is refused when the package is imported."""

import re
from pathlib import Path

import pytest

from sql import arrays
from sql.statements import load, parse

ROOT = Path(__file__).parents[2]
FILE = """-- name: one
-- What it does,
-- in two lines.
select 1
-- with a remark
from a;

-- name: two
-- Another.
select %(x)s, '--', 100 %% 7;
"""


def test_a_block_is_a_name_a_purpose_and_a_statement() -> None:
    found = parse(FILE, "file.sql")
    assert list(found) == ["one", "two"]
    assert found["one"] == "/* one */ select 1\nfrom a"
    assert found["two"] == "/* two */ select %(x)s, '--', 100 %% 7"
    assert found["one"].name == "one"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-- name: a\nselect 1", "a: the line after its name must say what it does"),
        ("-- name: a\n", "a: the line after its name must say what it does"),
        ("-- name: a\n-- Purpose.\n", "a has no statement"),
        ("-- name: a\n-- Purpose.\nselect 1;\n-- name: a\n-- Purpose.\nselect 2", "a is there twice"),
        ("select 1;\n-- name: a\n-- Purpose.\nselect 1", "text before the first"),
    ],
)
def test_a_block_that_is_not_whole_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"file.sql: .*{re.escape(reason)}"):
        parse(text, "file.sql")


def test_every_file_of_statements_is_whole() -> None:
    for file in sorted((ROOT / "sql" / "queries").glob("*.sql")):
        assert load(file.stem)


def test_an_array_is_one_literal() -> None:
    assert arrays.plain([1, None, "a", 2.5, True]) == "{1,NULL,a,2.5,True}"
    assert arrays.plain([]) == arrays.quoted([]) == "{}"
    assert arrays.quoted(["a", None, "", "NULL", 'q"', "b\\", "{,}"]) == r'{"a",NULL,"","NULL","q\"","b\\","{,}"}'
