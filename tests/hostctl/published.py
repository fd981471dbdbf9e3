"""The published table that calc and intervals are held against (see tests/data/README.md)."""

from __future__ import annotations

import csv
from pathlib import Path

TABLE = Path(__file__).parents[1] / "data" / "vedliot_d33.csv"


def rows() -> list[dict[str, str]]:
    """Return the measurements of VEDLIoT D3.3, one dict a row, every cell as printed."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
