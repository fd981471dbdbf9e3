"""Power sensors in the hwmon tree: INA2xx, INA3221 (Jetson, mainline kernel), PMBus, ACPI, graphics cards.

Sources: Linux kernel, Documentation/hwmon/{sysfs-interface,ina2xx,ina3221,ina238,pmbus-core}.rst:
inN_input is mV, currN_input mA, powerN_input and powerN_average µW, energyN_input µJ, update_interval ms.
"""

import re
from pathlib import Path

from power.rails.jetson import MODULE_INPUTS
from power.rails.model import Channel, Rail, read_number, read_text

CARDS = {"amdgpu", "nouveau", "i915", "xe"}
ACPI_METER = "power_meter"
INA3221_CHANNELS = (1, 2, 3)  # in4..in6 are shunt voltages and in7 is their sum


def find(root: Path) -> list[Rail]:
    """List the power rails of every hwmon chip under `root`, unconnected channels left out."""
    chips: dict[Path, Path] = {}
    patterns = ("sys/class/hwmon/hwmon*", "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*")
    for pattern in patterns:
        for chip in sorted(root.glob(pattern)):
            chips.setdefault(chip.resolve(), chip)
    return [rail for chip in chips.values() for rail in _chip(chip)]


def _chip(chip: Path) -> list[Rail]:
    name = read_text(str(chip / "name")) or chip.name
    if name.startswith("ina3221"):
        return _ina3221(chip, name)
    rails = []
    for number, suffix in _channels(chip):
        file = chip / f"power{number}_{suffix}"
        voltage, current = _companions(chip, name, number)
        label = read_text(str(chip / f"power{number}_label")) or ""
        rails.append(
            _rail(
                chip,
                name,
                label or f"power{number}",
                _reading(chip, suffix, name),
                power=Channel(str(file), 1e-6),
                voltage=voltage,
                current=current,
            )
        )
    if not rails:
        for file in sorted(chip.glob("energy*_input")):
            label = read_text(str(file).replace("_input", "_label")) or file.name.removesuffix("_input")
            rails.append(_rail(chip, name, label, "counter", energy=Channel(str(file), 1e-6)))
    return rails


def _channels(chip: Path) -> list[tuple[int, str]]:
    """Return (channel number, "input" or "average") of the power readings, "input" where there are both."""
    found: dict[int, str] = {}
    for file in sorted(chip.glob("power*_*")):
        match = re.fullmatch(r"power(\d+)_(input|average)", file.name)
        if match and found.get(int(match[1])) != "input":
            found[int(match[1])] = match[2]
    return sorted(found.items())


def _companions(chip: Path, name: str, number: int) -> tuple[Channel | None, Channel | None]:
    """Return voltage and current of a power channel, where the driver's documentation ties them together."""
    if name.startswith("ina2") and number == 1:
        # The kernel's own ina2xx has the shunt's voltage in in0; the iio-hwmon bridge counts from 1, shunt first.
        bridged_bus = _existing(chip, "in2_input")
        return bridged_bus or _existing(chip, "in1_input"), _existing(chip, "curr1_input")
    label = read_text(str(chip / f"power{number}_label")) or ""
    match = re.fullmatch(r"p((?:in|out)\d*)", label)  # PMBus: pin/vin/iin, pout1/vout1/iout1
    if not match:
        return None, None
    return _labelled(chip, "in", f"v{match[1]}"), _labelled(chip, "curr", f"i{match[1]}")


def _ina3221(chip: Path, name: str) -> list[Rail]:
    rails = []
    for number in INA3221_CHANNELS:
        voltage, current = _existing(chip, f"in{number}_input"), _existing(chip, f"curr{number}_input")
        label = read_text(str(chip / f"in{number}_label")) or f"channel{number}"
        disabled = read_number(str(chip / f"in{number}_enable")) == 0.0
        if voltage is None or current is None or disabled or label.upper() == "NC":
            continue
        rails.append(
            _rail(chip, name, label, _reading(chip, "input", name), voltage=voltage, current=current)
        )
    return rails


def _rail(
    chip: Path,
    name: str,
    label: str,
    reading: str,
    *,
    power: Channel | None = None,
    voltage: Channel | None = None,
    current: Channel | None = None,
    energy: Channel | None = None,
) -> Rail:
    generic = re.fullmatch(r"(power|energy|channel)\d+", label)
    interval_ms = read_number(str(chip / "update_interval"))
    return Rail(
        name=f"{name}/{label}" if generic else label,
        driver="hwmon",
        source=str(chip),
        reading=reading,
        scope=_scope(name, label),
        rate_hz=1000.0 / interval_ms if interval_ms else None,
        power=power,
        voltage=voltage,
        current=current,
        energy=energy,
        is_total=label in MODULE_INPUTS,
        chip=name,
    )


def _reading(chip: Path, suffix: str, name: str) -> str:
    averaging = suffix == "average" or name.startswith("ina")
    return "average" if averaging and read_number(str(chip / "update_interval")) else "instantaneous"


def _scope(name: str, label: str) -> str:
    if label in MODULE_INPUTS:
        return "module"
    if name in CARDS:
        return "card"
    return "board" if name == ACPI_METER else "rail"


def _existing(chip: Path, file: str) -> Channel | None:
    path = chip / file
    return Channel(str(path), 1e-3) if path.exists() else None


def _labelled(chip: Path, kind: str, label: str) -> Channel | None:
    for file in sorted(chip.glob(f"{kind}*_label")):
        if read_text(str(file)) == label:
            return _existing(chip, file.name.replace("_label", "_input"))
    return None
