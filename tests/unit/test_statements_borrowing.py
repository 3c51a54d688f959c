"""A statement may go on after the CTEs of others."""

import pytest

from sql.statements import parse

TWO = """
-- name: first
-- Says one.
with one as (
    select 1
)
select * from one;

-- name: second
-- Says two.
with two as (
    select 2
)
select * from two;
"""


def test_a_block_goes_on_after_the_ctes_of_those_it_names() -> None:
    found = parse(TWO + "-- name: both\n-- with: first, second\n-- Says both.\nselect * from one, two;\n", "x.sql")
    assert found["both"] == (
        "/* both */ with one as (\n    select 1\n),\ntwo as (\n    select 2\n)\nselect * from one, two"
    )


@pytest.mark.parametrize("named", ["third", "second, third"])
def test_a_block_that_names_what_is_not_before_it_is_an_error(named: str) -> None:
    with pytest.raises(ValueError, match=r"x\.sql: both: no statement before it is called third"):
        parse(TWO + f"-- name: both\n-- with: {named}\n-- Says both.\nselect 1;\n", "x.sql")


def test_a_block_that_borrows_from_one_without_ctes_is_an_error() -> None:
    with pytest.raises(ValueError, match="called plain and begins with CTEs"):
        parse("-- name: plain\n-- Says 1.\nselect 1;\n-- name: b\n-- with: plain\n-- Says 1.\nselect 1;\n", "x.sql")
