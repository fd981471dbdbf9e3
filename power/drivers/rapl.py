"""The processor's own energy counters, through Linux powercap.

Source: Intel SDM volume 3B, 15.10 "Platform specific power management support"; Linux,
Documentation/power/powercap/powercap.rst. The package domain holds its core and uncore parts; memory has a domain of its own;
`psys`, where a machine has it, holds all. intel-rapl-mmio shows the same packages a second time. A counter wraps at
max_energy_range_uj (some 262 kJ: 44 minutes at 100 W). Readable by root only since CVE-2020-8694. Intel states no accuracy, so
none is claimed here.
"""

from typing import ClassVar

from power.drivers.common.onboard import OnBoard


class Rapl(OnBoard):
    """Energy of the processor packages with their memory, or of the whole platform where the machine has `psys`."""

    driver = "rapl"
    rail_drivers: ClassVar[tuple[str, ...]] = ("rapl",)
    no_rails = "it needs an Intel or AMD processor and the kernel's intel_rapl driver; see 'hostctl doctor'."
