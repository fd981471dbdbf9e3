"""Results as one HTML page: no script, no other file, readable in light and dark, printable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from hostctl.results.budget import HEAD, NUMBERS, rows, summary
from hostctl.results.columns import COLUMNS, DASH, Result
from hostctl.results.tables import legend

STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.45; }
body { margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); text-align: left; }
th { white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
.invalid td { color: #c0392b; }
details { margin: .5rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
svg rect { fill: currentColor; opacity: .6; }
"""


def html_report(results: Sequence[Result], *, title: str = "Wattfarm results") -> str:
    """Return the page: the table of all results, the legend, and each result in full."""
    sections = "\n".join(_section(result) for result in results)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n"
        f'<div class="wide">{_table(results)}</div>\n{_legend(results)}\n{sections}\n</body></html>\n'
    )


def _table(results: Sequence[Result]) -> str:
    head = "".join(f'<th class="{_align(column.numeric)}">{escape(column.title)}</th>' for column in COLUMNS)
    rows = "\n".join(_row(result) for result in results)
    return f"<table><thead><tr><th></th>{head}</tr></thead>\n<tbody>{rows}</tbody></table>"


def _row(result: Result) -> str:
    cells = "".join(
        f'<td class="{_align(column.numeric)}">{escape(column.text(result))}</td>' for column in COLUMNS
    )
    mark, kind = ("✓", "valid") if result["valid"] else ("✗ invalid", "invalid")
    return f'<tr class="{kind}"><td>{mark}</td>{cells}</tr>'


def _legend(results: Sequence[Result]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in legend(results)) + "</ul>"


def _section(result: Result) -> str:
    name = f"{result['model']['name']}, {result['runtime']['name']}, {result['config']['scenario']}"
    facts = json.dumps(result, indent=2, ensure_ascii=False)
    return (
        f"<details><summary>{escape(name)} ({escape(str(result['id']))})</summary>"
        f"{_times(result.get('inference_time_ms'))}{_budgets(result)}<pre>{escape(facts)}</pre></details>"
    )


def _budgets(result: Result) -> str:
    """Return the uncertainty budget as tables; nothing where there is none."""
    found = result["environment"].get("uncertainty")
    if not found:
        return ""
    tables = ((which, found[which]) for which in ("gross", "net") if found[which] is not None)
    return "".join(_budget(which, table, found["k"]) for which, table in tables)


def _budget(which: str, table: Mapping[str, Any], k: float) -> str:
    head = "".join(f'<th class="{_align(name in NUMBERS)}">{escape(name)}</th>' for name in HEAD)
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td class="{_align(name in NUMBERS)}">{escape(cell)}</td>'
            for name, cell in zip(HEAD, row, strict=True)
        )
        + "</tr>"
        for row in rows(table)
    )
    sentences = [summary(which, table, k), *table["remarks"]]
    below = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return (
        f'<div class="wide"><table><caption>{which} energy per inference</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{below}"
    )


def _times(times: Mapping[str, Any] | None) -> str:
    """Return bars of the request times' statistics, drawn to one scale."""
    names = ("min", "median", "mean", "p90", "p99", "max")
    if not times or any(times.get(name) is None for name in names):
        return f"<p>Request times: {DASH}</p>"
    longest = times["max"] or 1.0
    bars = "".join(
        f'<text x="0" y="{22 * index + 14}">{name} {times[name]:.4g} ms</text>'
        f'<rect x="170" y="{22 * index + 3}" width="{420 * times[name] / longest:.1f}" height="14"/>'
        for index, name in enumerate(names)
    )
    return (
        f'<svg viewBox="0 0 600 {22 * len(names)}" width="600" role="img" font-size="13" fill="currentColor" '
        f'aria-label="request times">{bars}</svg>'
    )


def _align(numeric: bool) -> str:
    return "n" if numeric else "t"
