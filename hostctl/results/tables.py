"""Results as a table on the terminal, with the sentences a reader of it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from hostctl.results.columns import COLUMNS, ESTIMATE_MARK, Column, Result

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

WHO = tuple(column for column in COLUMNS if column.title in ("model", "runtime", "batch", "scenario"))
SPEED = tuple(column for column in COLUMNS if column not in WHO and not column.energy)
ENERGY = tuple(column for column in COLUMNS if column.energy)


class ResultTable:
    """A rich renderable: one row a result; below every flag, once, and what the marks mean.

    Where the terminal is too narrow for all columns there are two tables, speed and energy.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield what fits."""
        from rich.text import Text

        whole = _table(self._results, COLUMNS)
        if console.measure(whole, options=options.update(width=10_000)).maximum <= options.max_width:
            yield whole
        else:
            yield _table(self._results, WHO + SPEED)
            yield _table(self._results, WHO + ENERGY)
        for line in legend(self._results):
            yield Text(line)


def result_table(results: Sequence[Result]) -> ResultTable:
    """Return the table of results for a rich console."""
    return ResultTable(results)


def _table(results: Sequence[Result], columns: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in columns:
        table.add_column(column.title, justify="right" if column.numeric else "left", overflow="fold")
    for result in results:
        mark = Text("✓", "green") if result["valid"] else Text("✗ invalid", "red")
        table.add_row(mark, *(Text(column.text(result)) for column in columns))
    return table


def legend(results: Sequence[Result]) -> list[str]:
    """Return the lines below a table: what ± and marks mean, then each flag once, with how many results have it."""
    lines = ["± is the expanded uncertainty (k = 2); – is unknown."]
    if any((result.get("meter") or {}).get("kind") not in (None, "measured") for result in results):
        lines.append(f"{ESTIMATE_MARK} was estimated or simulated, not measured: not for publication.")
    for code, messages in _by_code(results).items():
        times = f" (×{len(messages)})" if len(messages) > 1 else ""
        lines.append(f"{code}{times}: {messages[0]}")
    return lines


def _by_code(results: Iterable[Result]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for result in results:
        for flag in result["flags"]:
            found.setdefault(flag["code"], []).append(flag["message"])
    return found
