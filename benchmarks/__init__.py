"""Performance claims, each a ratio of two things measured side by side in one run.

Every module here has `run() -> list[Row]`; `python -m benchmarks [NAME ...]` runs them and prints a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One claim: `measured` against `baseline`, both in `unit`, and the bar their ratio has to clear.

    `baseline` is None where the bar is an absolute one (`bar` is then in `unit`).
    """

    name: str
    measured: float
    unit: str
    baseline: float | None
    bar: float
    sense: Literal["at least", "at most"]

    @property
    def value(self) -> float:
        """What is held against the bar: measured ÷ baseline, or measured itself."""
        return self.measured if self.baseline is None else self.measured / self.baseline

    @property
    def holds(self) -> bool:
        """Whether the claim is true in this run."""
        return self.value >= self.bar if self.sense == "at least" else self.value <= self.bar
