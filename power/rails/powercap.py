"""RAPL energy counters in the powercap tree.

Source: Linux kernel, Documentation/power/powercap/powercap.rst. Counters are µJ, wrap at max_energy_range_uj,
and are readable by root only since CVE-2020-8694.
"""

import re
from pathlib import Path

from power.rails.model import Channel, Rail, read_number, read_text

UPDATES_HZ = 1000.0
"""RAPL counters are renewed about every millisecond (Intel SDM volume 3, section 15.10)."""


def find(root: Path) -> list[Rail]:
    """List the RAPL domains under `root`; parts of a package are named "package-0/core"."""
    base = root / "sys/class/powercap"
    return [r for control in ("intel-rapl", "intel-rapl-mmio") for r in _domains(base, control)]


def _domains(base: Path, control: str) -> list[Rail]:
    zones = {}
    for zone in sorted(base.glob(f"{control}:*"), key=_order):
        if (zone / "energy_uj").exists():
            zones[zone.name] = zone
    names: dict[str, str] = {}
    rails = []
    for key, zone in zones.items():
        own = read_text(str(zone / "name")) or key.replace(":", "-")
        parent = names.get(key.rpartition(":")[0])
        name = f"{parent}/{own}" if parent else own
        if control.endswith("mmio") and not parent:
            name = f"{name}-mmio"
        names[key] = name
        rails.append(_rail(name, own, zone))
    return rails


def _rail(name: str, own: str, zone: Path) -> Rail:
    range_uj = read_number(str(zone / "max_energy_range_uj"))
    platform = own == "psys"
    return Rail(
        name=name,
        driver="rapl",
        source=str(zone),
        reading="counter",
        scope="board" if platform else "rail",
        rate_hz=UPDATES_HZ,
        energy=Channel(str(zone / "energy_uj"), 1e-6),
        wrap_j=None if range_uj is None else (range_uj + 1.0) * 1e-6,
        is_total=platform,
    )


def _order(zone: Path) -> list[int]:
    return [int(number) for number in re.findall(r":(\d+)", zone.name)]
