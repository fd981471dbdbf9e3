"""The rails by which a Linux board measures itself. Standard library only: the board's daemon imports this.

for rail in discover():
    if not rail.unreadable_reason:
        print(rail.name, RailReader(rail).read())
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from power.rails import hwmon, iio, powercap
from power.rails.model import Channel, Rail, RailReader, read, readable
from power.rails.totals import RailLike, total_rails

__all__ = ["Channel", "Rail", "RailLike", "RailReader", "discover", "read", "total_rails"]


def discover(root: Path = Path("/")) -> list[Rail]:
    """List the rails of the board whose file system starts at `root`, those that cannot be read included.

    Names are unique: where two sensors carry the same label, each gets its device appended ("VIN@hwmon3").
    """
    rails = [*powercap.find(root), *hwmon.find(root), *iio.find(root)]
    seen = Counter(rail.name for rail in rails)
    unique = [
        replace(rail, name=f"{rail.name}@{Path(rail.source).name}") if seen[rail.name] > 1 else rail
        for rail in rails
    ]
    return [replace(rail, unreadable_reason=readable(rail)) for rail in unique]
