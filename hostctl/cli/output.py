"""Tables for people and JSON for programs. Numbers are rounded here and nowhere else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import click

DASH = "–"
"""What a table shows for a number that is not known."""


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(json.dumps(value, allow_nan=False, ensure_ascii=False))


def print_json_lines(values: Iterable[Any]) -> None:
    """Print JSON values, one a line; nothing for none."""
    for value in values:
        print_json(value)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = ()
) -> None:
    """Print a table; columns named in `numbers` are aligned right."""
    from rich.table import Table

    right = set(numbers)
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    print_rich(table)


def print_rich(*what: Any) -> None:
    """Print rich objects on stdout; wide enough for any table where stdout is no terminal."""
    import sys

    from rich.console import Console

    width = None if sys.stdout.isatty() else 240
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    for each in what:
        console.print(each)


def print_facts(facts: Iterable[tuple[str, Any]]) -> None:
    """Print name and value, one a line; values that are missing as a dash."""
    pairs = [(name, DASH if value in (None, "") else str(value)) for name, value in facts]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with that many significant digits, or a dash."""
    if value is None:
        return DASH
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if abs(value) >= 10**digits else text


def size(bytes_: float | None) -> str:
    """Return a size in decimal units, or a dash."""
    if bytes_ is None:
        return DASH
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(bytes_) >= factor:
            return f"{bytes_ / factor:.3g} {unit}"
    return f"{bytes_:.0f} B"


def span(seconds: float) -> str:
    """Return a time as 1 h 05 min, 3 min 20 s, or 12.3 s."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.3g} s"
