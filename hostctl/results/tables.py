"""Results as a table on the terminal, with the sentences a reader of it needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hostctl.results.columns import COLUMNS, ESTIMATE_MARK, Result

if TYPE_CHECKING:
    from rich.console import Group


def result_table(results: Sequence[Result]) -> Group:
    """Return a rich table with one row a result; below it every flag, once, and what the marks mean."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.title, justify="right" if column.numeric else "left", overflow="fold")
    for result in results:
        mark = Text("✓", "green") if result["valid"] else Text("✗ invalid", "red")
        table.add_row(mark, *(Text(column.text(result)) for column in COLUMNS))
    return Group(table, *(Text(line) for line in legend(results)))


def legend(results: Sequence[Result]) -> list[str]:
    """Return the lines below a table: what ± and marks mean, then each different flag with how often it stands."""
    lines = ["± is the expanded uncertainty (k = 2); – is unknown."]
    if any((result.get("meter") or {}).get("kind") not in (None, "measured") for result in results):
        lines.append(f"{ESTIMATE_MARK} was estimated or simulated, not measured: not for publication.")
    for (code, message), count in _counted(results).items():
        times = f" (×{count})" if count > 1 else ""
        lines.append(f"{code}{times}: {message}")
    return lines


def _counted(results: Iterable[Result]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for result in results:
        for flag in result["flags"]:
            key = (flag["code"], flag["message"])
            counts[key] = counts.get(key, 0) + 1
    return counts
