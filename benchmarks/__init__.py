"""Performance claims, each a ratio of two things measured side by side in one run.

Every module here has `run() -> list[Row]`; `python -m benchmarks [NAME ...]` runs them and prints a table.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One claim: `measured` against `baseline`, both in `unit`, and the bar their ratio has to clear.

    `baseline` is None where the bar is an absolute one (`bar` is then in `unit`). `ratio` is the median of the ratios of
    single rounds, where both were measured in turn.
    """

    name: str
    measured: float
    unit: str
    baseline: float | None
    bar: float
    sense: Literal["at least", "at most"]
    ratio: float | None = None

    @property
    def value(self) -> float:
        """What is held against the bar: measured ÷ baseline (round by round if it can be), or measured itself."""
        if self.ratio is not None:
            return self.ratio
        return self.measured if self.baseline is None else self.measured / self.baseline

    @property
    def holds(self) -> bool:
        """Whether the claim is true in this run."""
        return self.value >= self.bar if self.sense == "at least" else self.value <= self.bar


def rows_of(name: str) -> list[Row]:
    """Run one benchmark, by the name of its module."""
    found: list[Row] = importlib.import_module(f"benchmarks.{name}").run()
    return found
