"""Trees that look like the /proc and /sys of boards this machine is not."""

from __future__ import annotations

from pathlib import Path


def write(root: Path, files: dict[str, str | int]) -> Path:
    """Write files under a root; returns the root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def rapl(root: Path, *, package_uj: int = 1_000_000, range_uj: int = 262_143_328_850) -> Path:
    """A processor package with a core domain, as powercap shows it; returns the package's counter."""
    base = "sys/class/powercap/intel-rapl:0"
    core = "sys/class/powercap/intel-rapl:0:0"
    write(
        root,
        {
            f"{base}/name": "package-0",
            f"{base}/energy_uj": package_uj,
            f"{base}/max_energy_range_uj": range_uj,
            f"{core}/name": "core",
            f"{core}/energy_uj": 400_000,
            f"{core}/max_energy_range_uj": range_uj,
        },
    )
    return root / base / "energy_uj"


def ina(root: Path, *, power_uw: int = 5_000_000) -> Path:
    """An INA226 at 5 V and 1 A; returns the power file."""
    chip = "sys/class/hwmon/hwmon0"
    write(
        root,
        {
            f"{chip}/name": "ina226",
            f"{chip}/power1_input": power_uw,
            f"{chip}/power1_label": "VIN",
            f"{chip}/in1_input": 5000,
            f"{chip}/curr1_input": 1000,
            f"{chip}/update_interval": 2,
        },
    )
    return root / chip / "power1_input"
