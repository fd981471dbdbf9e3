"""The rails by which a Linux board measures itself. Standard library only: the board's daemon imports this.

for rail in discover():
    if not rail.unreadable_reason:
        print(rail.name, RailReader(rail).read())
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from power.rails import hwmon, iio, powercap
from power.rails.jetson import CARRIER_CHIP, CARRIER_INPUT, jetson_of
from power.rails.maps import RailMap, mapped
from power.rails.model import Channel, Rail, RailReader, read, readable
from power.rails.totals import RailLike, total_rails, total_scope

__all__ = [
    "Channel",
    "Rail",
    "RailLike",
    "RailMap",
    "RailReader",
    "discover",
    "read",
    "total_rails",
    "total_scope",
]


def discover(root: Path = Path("/"), rail_map: RailMap | None = None) -> list[Rail]:
    """List the rails of the board whose file system starts at `root`, those that cannot be read included.

    Names are unique: where two sensors carry the same label, each gets its device appended ("VIN@hwmon3"). `rail_map` names what
    the sensors do not.
    """
    shown = hwmon.find(root)
    rails = _carrier_named([*powercap.find(root), *shown, *_not_shown_twice(iio.find(root), shown)])
    if rail_map is not None:
        rails = mapped(rails, rail_map)
    seen = Counter(rail.name for rail in rails)
    unique = [
        replace(rail, name=f"{rail.name}@{Path(rail.source).name}") if seen[rail.name] > 1 else rail
        for rail in rails
    ]
    return [replace(rail, unreadable_reason=readable(rail)) for rail in unique]


def _not_shown_twice(devices: list[Rail], shown: list[Rail]) -> list[Rail]:
    """Leave out IIO devices that the kernel's iio-hwmon bridge shows as a hwmon chip of the same name too."""
    bridged = {rail.chip.replace("-", "_") for rail in shown if rail.rate_hz is None}
    return [rail for rail in devices if rail.chip.replace("-", "_") not in bridged]


def _carrier_named(rails: list[Rail]) -> list[Rail]:
    """Name the sensor on a Jetson's carrier, which has no label."""
    jetson = jetson_of([rail.name for rail in rails])
    if jetson is None or jetson.carrier is None:
        return rails
    return [
        replace(rail, name=CARRIER_INPUT, scope="board", is_total=True) if rail.chip == CARRIER_CHIP else rail
        for rail in rails
    ]
