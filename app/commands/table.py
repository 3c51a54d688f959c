"""Rows for people: a table on a terminal, else one line a row, its cells separated by tabs, for cut and awk."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

from app.commands.text import plain_json, shown

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="The service's own JSON, for scripts.")

Row = dict[str, Any]
_WIDEST = 40


class Column(NamedTuple):
    """A heading, what stands below it off a terminal, and how that is put for people, if otherwise."""

    heading: str
    of: Callable[[Row], object]
    for_people: Callable[[Row], object] | None = None
    right: bool = False
    whole: bool = False
    """Never shortened to fit the terminal."""


def print_rows(columns: Sequence[Column], rows: Iterable[Row], nothing: str) -> None:
    """Prints `rows`; where there are none says `nothing` on a terminal, and nothing off it."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(_cell(column.of(row)) for column in columns))
        return
    rows = list(rows)
    if not rows:
        click.echo(nothing)
        return
    # Not for every subcommand: it takes as long to load as the rest of them.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        width = min(_WIDEST, max(len(_cell(column.of(row))) for row in rows)) if column.whole else None
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=width,
        )
    for row in rows:
        # Text, because a str would be read as rich's markup.
        table.add_row(*[Text(_cell((column.for_people or column.of)(row)) or "-") for column in columns])
    Console(highlight=False).print(table)


def print_fields(row: Row) -> None:
    """Prints one thing, a field a line."""
    if not sys.stdout.isatty():
        for name, value in row.items():
            click.echo(f"{shown(name)}\t{_cell(value)}")
        return
    longest = max(map(len, row), default=0)
    for name, value in row.items():
        click.echo(f"{shown(name):{longest}}  {_cell(value) or '-'}")


def print_json(text: str) -> None:
    """Prints a JSON text that a service sent."""
    click.echo(plain_json(text))


def time_for_people(text: object) -> str:
    """An RFC 3339 time without the fraction of its second."""
    try:
        return datetime.fromisoformat(str(text)).strftime("%Y-%m-%d %H:%M:%SZ")
    except ValueError:
        return str(text or "")


def seconds_for_people(seconds: object) -> str:
    """A length of time in its two largest units."""
    if not isinstance(seconds, int | float):
        return ""
    whole = int(seconds)
    for name, size, rest, smaller in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{name} {whole % size // smaller}{rest}"
    return f"{seconds:.1f}s"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
