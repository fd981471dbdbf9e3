"""Power channels in the Industrial I/O tree, and the INA3221 of Jetson boards with JetPack 4 and older.

Sources: Linux kernel, Documentation/ABI/testing/sysfs-bus-iio: (raw + offset) × scale is mV, mA, mW and J,
an `_input` file is already scaled; NVIDIA Jetson Linux 32 developer guide, "Software-Based Power Consumption
Modeling": rail_name_N, in_powerN_input mW, in_voltageN_input mV, in_currentN_input mA.
"""

import re
from pathlib import Path

from power.rails.jetson import MODULE_INPUTS
from power.rails.model import Channel, Rail, read_number, read_text

INA2XX_CHANNELS = {"voltage": 1, "power": 2, "current": 3}  # fixed by the kernel's ina2xx-adc driver


def find(root: Path) -> list[Rail]:
    """List the power rails of every IIO device under `root`, unconnected channels left out."""
    devices: dict[Path, Path] = {}
    patterns = ("sys/bus/iio/devices/iio:device*", "sys/bus/i2c/drivers/ina3221x/*/iio:device*")
    for pattern in patterns:
        for device in sorted(root.glob(pattern)):
            devices.setdefault(device.resolve(), device)
    rails: list[Rail] = []
    for device in devices.values():
        jetson = any(device.glob("rail_name_*"))
        rails += _jetson(device) if jetson else _generic(device)
    return rails


def _jetson(device: Path) -> list[Rail]:
    rails = []
    for file in sorted(device.glob("rail_name_*")):
        number = file.name.rpartition("_")[2]
        label = read_text(str(file)) or f"channel{number}"
        power = _channel(device, f"power{number}")
        if power is None or label.upper() == "NC":
            continue
        rails.append(
            Rail(
                name=label,
                driver="iio",
                source=str(device),
                reading="instantaneous",
                scope="module" if label in MODULE_INPUTS else "rail",
                resolution_w=1e-3,
                power=power,
                voltage=_channel(device, f"voltage{number}"),
                current=_channel(device, f"current{number}"),
                is_total=label in MODULE_INPUTS,
                chip="ina3221x",
            )
        )
    return rails


def _generic(device: Path) -> list[Rail]:
    chip = read_text(str(device / "name")) or device.name
    name = read_text(str(device / "label")) or chip
    rate_hz = read_number(str(device / "in_sampling_frequency"))
    if re.match(r"ina2\d\d", chip) or re.match(r"ina2\d\d", name):
        numbers = [INA2XX_CHANNELS]
    else:
        numbers = [dict.fromkeys(INA2XX_CHANNELS, n) for n in _numbers(device)]
    rails = []
    for channels in numbers:
        power, voltage, current = (
            _channel(device, f"{kind}{channels[kind]}") for kind in ("power", "voltage", "current")
        )
        if power is None and (voltage is None or current is None):
            continue
        label = read_text(str(device / f"in_power{channels['power']}_label"))
        rails.append(
            Rail(
                name=label or f"{name}/power{channels['power']}",
                driver="iio",
                source=str(device),
                reading="instantaneous",
                scope="rail",
                rate_hz=rate_hz or None,
                resolution_w=abs(power.scale) if power else None,
                power=power,
                voltage=voltage,
                current=current,
                chip=name,
            )
        )
    return rails


def _numbers(device: Path) -> list[int]:
    found = set()
    for file in device.glob("in_*"):
        match = re.fullmatch(r"in_(?:power|current)(\d+)_(?:raw|input)", file.name)
        if match:
            found.add(int(match[1]))
    return sorted(found)


def _channel(device: Path, kind_number: str) -> Channel | None:
    """Return the channel "power0", "voltage1"... in W, V or A; None if absent or of unknown scale."""
    scaled = device / f"in_{kind_number}_input"
    if scaled.exists():
        return Channel(str(scaled), 1e-3)
    raw = device / f"in_{kind_number}_raw"
    scale = _attribute(device, kind_number, "scale")
    if not raw.exists() or scale is None:
        return None
    return Channel(str(raw), scale * 1e-3, _attribute(device, kind_number, "offset") or 0.0)


def _attribute(device: Path, kind_number: str, attribute: str) -> float | None:
    shared = kind_number.rstrip("0123456789")
    own = read_number(str(device / f"in_{kind_number}_{attribute}"))
    return own if own is not None else read_number(str(device / f"in_{shared}_{attribute}"))
