"""The uncertainty budget that a result holds, as tables for people. Rounded here; a result holds every digit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hostctl.errors import UsageError
from hostctl.results.columns import DASH, Result, significant, with_uncertainty

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

HEAD = ("component", "source", "distribution", "u", "sensitivity", "mJ/inf", "share")
NUMBERS = HEAD[3:]


def budget_of(result: Result) -> Mapping[str, Any]:
    """Return a result's budget. Raises UsageError if it has none: it was made without energy, or by an older version."""
    found = result["environment"].get("uncertainty")
    if not isinstance(found, Mapping):
        raise UsageError(
            f"The result {result['id']} has no uncertainty budget: no energy was measured, or an earlier version made it."
        )
    return found


def rows(table: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells of a budget table, one row a line."""
    return [_row(line) for line in table["lines"]]


def summary(which: str, table: Mapping[str, Any], k: float) -> str:
    """Return the sentence below a table: value, combined and expanded uncertainty."""
    value, u, expanded = table["value_mj"], table["u_mj"], table["expanded_mj"]
    if u is None:
        return f"{which}: {significant(value)} mJ per inference; u is unknown, because a component is."
    relative = f" ({significant(100 * expanded / abs(value), 2)} %)" if value else ""
    return (
        f"{which}: {with_uncertainty(value, expanded)} mJ per inference{relative}; "
        f"combined u = {significant(u, 2)} mJ, k = {k:g}."
    )


def budget_tables(result: Result) -> Iterator[RenderableType]:
    """Yield for gross and net energy a table, the sums, and the remarks, for a rich console. Raises UsageError."""
    from rich.text import Text

    found = budget_of(result)
    for which in ("gross", "net"):
        table = found[which]
        if table is None:
            continue
        yield _table(f"{which} energy per inference", rows(table))
        yield Text(summary(which, table, found["k"]))
        for remark in table["remarks"]:
            yield Text(remark)
        yield Text()


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    # A relative uncertainty is read in percent, and so is what the result changes by.
    unit, scale = ("%", 100.0) if line["unit"] == "1" else (line["unit"], 1.0)
    return (
        line["name"],
        line["source"],
        line["distribution"],
        _number(line["u"], scale, f" {unit}", 3),
        _number(line["sensitivity"], 1.0 / scale, f" mJ/{unit}", 4),
        _number(line["contribution_mj"], 1.0, "", 3),
        DASH if line["share"] is None else f"{100 * line['share']:.1f} %",
    )


def _number(value: float | None, scale: float, unit: str, digits: int) -> str:
    return DASH if value is None else f"{significant(scale * value, digits)}{unit}"


def _table(title: str, lines: Sequence[tuple[str, ...]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", pad_edge=False, box=box.SIMPLE_HEAD)
    for name in HEAD:
        table.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold")
    for line in lines:
        table.add_row(*line)
    return table
