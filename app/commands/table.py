"""Rows for people: a table on a terminal, else one line a row, its cells separated by tabs, for cut and awk."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from app.commands.text import plain_json, shown

JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="The service's own JSON, for scripts.")

Row = dict[str, Any]
_WIDEST, _NARROWEST = 40, 8
_GAP = "  "


class Column(NamedTuple):
    """A heading, what stands below it off a terminal, and how that is put for people, if otherwise."""

    heading: str
    of: Callable[[Row], object]
    for_people: Callable[[Row], object] | None = None
    right: bool = False
    whole: bool = False
    """Never shortened, however narrow the terminal: people copy it."""
    beneath: bool = False
    """A text of any length: on a terminal it has a line of its own, under its row."""


def print_rows(columns: Sequence[Column], rows: Sequence[Row], nothing: str) -> None:
    """Prints `rows`; where there are none says `nothing` on a terminal, and nothing off it."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(_cell(column.of(row)) for column in columns))
    elif rows:
        _print_table(columns, rows)
    else:
        click.echo(nothing)


def print_fields(row: Row) -> None:
    """Prints one thing, a field a line."""
    gap = "\t"
    longest = 0
    if sys.stdout.isatty():
        gap, longest = _GAP, max(map(len, row), default=0)
    for name, value in row.items():
        click.echo(f"{shown(name):{longest}}{gap}{_cell(value)}".rstrip(" "))


def print_json(text: str) -> None:
    """Prints a JSON text that a service sent."""
    click.echo(plain_json(text))


def ago(text: object) -> str:
    """How long ago an RFC 3339 time was, by the clock of this machine."""
    try:
        return duration((datetime.now(UTC) - datetime.fromisoformat(str(text))).total_seconds())
    except (ValueError, TypeError):
        return str(text or "")


def duration(seconds: object) -> str:
    """A length of time in its two largest units."""
    if not isinstance(seconds, int | float):
        return ""
    whole = max(0, int(seconds))
    for name, size, rest, smaller in (("d", 86_400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{name} {whole % size // smaller}{rest}"
    return f"{whole}s"


def _print_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    # Not for every subcommand. It knows how wide a character is.
    from rich.cells import cell_len, set_cell_size

    def fitted(text: str, width: int) -> str:
        return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"

    beside = [column for column in columns if not column.beneath]
    table = [[_cell((column.for_people or column.of)(row)) or "-" for column in beside] for row in rows]
    widths = [
        min(_WIDEST, max(len(column.heading), *(cell_len(cells[place]) for cells in table)))
        for place, column in enumerate(beside)
    ]
    terminal = shutil.get_terminal_size().columns
    while sum(widths) + len(_GAP) * (len(widths) - 1) > terminal:
        width, place = max((width, place) for place, width in enumerate(widths) if not beside[place].whole)
        if width <= _NARROWEST:
            break
        widths[place] -= 1

    def line(cells: Sequence[str]) -> str:
        texts = [fitted(text, width) for text, width in zip(cells, widths, strict=True)]
        padded = (
            " " * (width - cell_len(text)) + text if column.right else text + " " * (width - cell_len(text))
            for text, width, column in zip(texts, widths, beside, strict=True)
        )
        return _GAP.join(padded).rstrip()

    click.secho(line([column.heading for column in beside]), bold=True)
    for row, cells in zip(rows, table, strict=True):
        click.echo(line(cells))
        for column in columns:
            text = _cell(column.of(row)) if column.beneath else ""
            if text:
                click.echo(f"{_GAP}{fitted(text, terminal - len(_GAP))}")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
