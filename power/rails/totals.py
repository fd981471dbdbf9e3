"""Which rails add up to the whole, without counting anything twice."""

from collections.abc import Collection, Sequence
from typing import Protocol

from power.rails.jetson import jetson_of

SENSORS = "sensors"
"""Driver of the rails by which an accelerator module measures itself: beside the board's own, never the whole nor added to it."""


class RailLike(Protocol):
    """What `total_rails` needs to know of a rail: `Rail`, and the protocol's message too."""

    @property
    def name(self) -> str: ...
    @property
    def driver(self) -> str: ...
    @property
    def is_total(self) -> bool: ...


def total_rails(rails: Sequence[RailLike]) -> tuple[str, ...]:
    """Return the names of the rails whose sum is the power of the whole, or () if that is not known.

    In this order: the documented total of a Jetson; the rails that are marked as totals (the platform of every socket, the
    total of a board's rail map, the one rail that feeds all others); RAPL packages with their memory (core and uncore are inside
    the package); the only rail there is. Rails of modules that measure themselves do not count.
    """
    rails = [rail for rail in rails if rail.driver != SENSORS]
    names = [rail.name for rail in rails]
    jetson = jetson_of(names)
    if jetson is not None:
        return jetson.total_of(names)
    totals = tuple(rail.name for rail in rails if rail.is_total)
    if totals:
        # Where a machine counts its platform and has other totals too, those are inside.
        return tuple(name for name in totals if name.startswith("psys")) or totals
    rapl = tuple(rail.name for rail in rails if rail.driver == "rapl" and _additive(rail.name))
    if rapl:
        return rapl
    return (rails[0].name,) if len(rails) == 1 else ()


def total_scope(names: Collection[str], among: Collection[str]) -> str | None:
    """Return what the rails `names` cover if they are the total of the Jetson that has the rails `among`; None otherwise."""
    jetson = jetson_of(among)
    if jetson is None or not names or set(names) != set(jetson.total_of(among)):
        return None
    return jetson.scope_of(names)


def _additive(name: str) -> bool:
    package, _, part = name.partition("/")
    if not package.startswith("package-") or package.endswith("-mmio"):
        return False
    return part in ("", "dram")
