"""Results for other programs: every number as it was measured, nothing rounded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hostctl.results.columns import Result


def to_json_lines(results: Iterable[Result]) -> str:
    """Return one JSON object a line, as `hostctl run --json` prints them."""
    return "".join(json.dumps(result, allow_nan=False, ensure_ascii=False) + "\n" for result in results)


def to_csv(results: Sequence[Result]) -> str:
    """Return one row a result and one column a leaf, named by its path (`power_w.value`). Unknown is an empty cell.

    Flags are one column of codes; `environment` and `fidelity` are left to JSON. A text that a spreadsheet would take for a
    formula is quoted with an apostrophe (OWASP, "CSV Injection").
    """
    rows = [dict(_leaves("", _columns_of(result))) for result in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _columns_of(result: Result) -> dict[str, Any]:
    left_out = ("flags", "environment", "fidelity", "accuracy")
    columns = {name: value for name, value in result.items() if name not in left_out}
    return {**columns, "flags": " ".join(flag["code"] for flag in result["flags"])}


def _leaves(path: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    else:
        yield path, value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
