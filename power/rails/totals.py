"""Which rails add up to the whole, without counting anything twice."""

from collections.abc import Sequence
from typing import Protocol

JETSON_SUMS = (
    # AGX Orin: the 5 V input already feeds VDDQ. AGX Xavier has no input rail, its total is the sum.
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)
"""Source: NVIDIA Jetson Linux developer guide, "Platform Power and Performance", INA3221 channels."""


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

    In this order: the rail that feeds all others; the documented sum of a Jetson board; RAPL packages with
    their memory (core and uncore are inside the package); the only rail there is.
    """
    totals = [rail.name for rail in rails if rail.is_total]
    if totals:
        platforms = tuple(name for name in totals if name.startswith("psys"))  # one a socket
        return platforms or (totals[0],)
    names = {rail.name for rail in rails}
    for labels in JETSON_SUMS:
        if names.issuperset(labels):
            return labels
    rapl = tuple(rail.name for rail in rails if rail.driver == "rapl" and _additive(rail.name))
    if rapl:
        return rapl
    return (rails[0].name,) if len(rails) == 1 else ()


def _additive(name: str) -> bool:
    package, _, part = name.partition("/")
    if not package.startswith("package-") or package.endswith("-mmio"):
        return False
    return part in ("", "dram")
