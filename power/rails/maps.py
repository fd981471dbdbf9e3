"""What the sensors of a board measure, where they do not say it themselves: a map that the board's catalogue entry holds.

Numbers of hwmon devices change from boot to boot, names of chips do not: a map goes by the chip's name ("ina226_u76"). The map
is given by whoever knows the board (hostctl, farmd, a person in farm.toml); this package has no catalogue. Standard library
only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from power.rails.model import Channel, Rail


@dataclass(frozen=True, slots=True)
class RailMap:
    """Names, factors and total of a board's rails.

    sensors  name of the chip → name of the rail
    factors  rail → by what power and current are to be multiplied, where a sensor sees one of several phases
    total    rails whose sum is the whole; () if that is not known
    scope    what the total covers
    """

    sensors: Mapping[str, str]
    total: tuple[str, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)
    scope: str = "board"


def mapped(rails: Sequence[Rail], rail_map: RailMap) -> list[Rail]:
    """Return the rails with the map's names, factors and totals; rails that it does not know stay as they are."""
    named = [_named(rail, rail_map) for rail in rails]
    found = {rail.name for rail in named}
    if not rail_map.total or not found.issuperset(rail_map.total):
        return named
    scope = rail_map.scope
    return [
        replace(
            rail,
            is_total=rail.name in rail_map.total,
            scope=scope if rail.name in rail_map.total else rail.scope,
        )
        for rail in named
    ]


def _named(rail: Rail, rail_map: RailMap) -> Rail:
    chip = rail.chip.replace("-", "_")
    if chip not in rail_map.sensors or not rail.name.startswith(f"{rail.chip}/"):  # its own labels are better
        return rail
    name = rail_map.sensors[chip]
    factor = rail_map.factors.get(name, 1.0)
    return replace(rail, name=name, power=_times(rail.power, factor), current=_times(rail.current, factor))


def _times(channel: Channel | None, factor: float) -> Channel | None:
    return None if channel is None else Channel(channel.path, channel.scale * factor, channel.offset)
