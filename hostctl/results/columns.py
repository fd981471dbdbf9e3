"""The columns of a result table: one list for the terminal, for CSV and for the report.

Numbers are rounded here, for people; a value that has an uncertainty is cut where its uncertainty begins (two digits of
U, the value to the same place: JCGM 100:2008, 7.2.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

DASH = "–"
Result = Mapping[str, Any]
ESTIMATE_MARK = "≈"


@dataclass(frozen=True)
class Column:
    """One column. `get` returns what is shown (a number, text, or None); `show` makes it text; `energy` marks an estimate."""

    title: str
    get: Callable[[Result], Any]
    show: Callable[[Any], str]
    numeric: bool = True
    energy: bool = False

    def text(self, result: Result) -> str:
        """Return the cell of one result."""
        value = self.get(result)
        if value is None:
            return DASH
        shown = self.show(value)
        return f"{ESTIMATE_MARK} {shown}" if self.energy and not _is_measured(result) else shown


def significant(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, never in exponent form between 1e-3 and 1e7."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    # Rounded first, since rounding may reach the next power of ten: 9.9996 is 10.00.
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -4 < magnitude < 7:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - magnitude)}f}"


def with_uncertainty(value: float, u: float | None) -> str:
    """Return `value ± U`, both to the second digit of U."""
    if u is None:
        return f"{significant(value)} ± ?"
    if u <= 0 or not math.isfinite(u):
        return significant(value)
    # Round U first: 0.0996 becomes 0.10, one place earlier than its own magnitude says.
    exponent = math.floor(math.log10(float(f"{u:.1e}")))
    places = 1 - exponent
    if places < 0:
        return f"{round(value, places):.0f} ± {round(u, places):.0f}"
    return f"{value:.{places}f} ± {u:.{places}f}"


def _path(*names: str) -> Callable[[Result], Any]:
    def get(result: Result) -> Any:
        value: Any = result
        for name in names:
            if value is None:
                return None
            value = value.get(name)
        return value

    return get


def _value_u(pair: Mapping[str, float | None]) -> str:
    value = pair["value"]
    return DASH if value is None else with_uncertainty(value, pair["u"])


def _percent(fraction: float) -> str:
    return f"{significant(100 * fraction, 3)} %"


def _is_measured(result: Result) -> bool:
    meter = result.get("meter")
    return meter is None or meter.get("kind") == "measured"


def _runtime(result: Result) -> str:
    runtime = result["runtime"]
    precision = runtime["effective"].get("precision") or runtime["precision"]
    return f"{runtime['name']} {precision}" if precision else str(runtime["name"])


COLUMNS: tuple[Column, ...] = (
    Column("model", _path("model", "name"), str, numeric=False),
    Column("runtime", _runtime, str, numeric=False),
    Column("batch", _path("config", "batch"), str),
    Column("scenario", _path("config", "scenario"), str, numeric=False),
    Column("time ms", _path("inference_time_ms", "median"), significant),
    Column("p99 ms", _path("inference_time_ms", "p99"), significant),
    Column("inf/s", _path("throughput_ips"), significant),
    Column("GOPS", _path("achieved_gops"), significant),
    Column("of peak", _path("performance_ratio"), _percent),
    Column("power W", _path("power_w"), _value_u, energy=True),
    Column("idle W", _path("idle_power_w"), _value_u, energy=True),
    Column("mJ/inf gross", _path("energy_per_inference_mj", "gross"), _value_u, energy=True),
    Column("mJ/inf net", _path("energy_per_inference_mj", "net"), _value_u, energy=True),
    Column("GOPS/W gross", _path("gops_per_w", "gross"), _value_u, energy=True),
    Column("GOPS/W net", _path("gops_per_w", "net"), _value_u, energy=True),
    Column("memory MB", _path("memory_mb"), lambda value: significant(value, 3)),
)
