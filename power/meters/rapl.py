"""The processor's own energy counters, through Linux powercap.

Source: Intel SDM volume 3B, 15.10 "Platform specific power management support"; Linux Documentation/power/powercap/powercap.rst.
The package domain holds its core and uncore parts; memory has a domain of its own. Readable by root only since CVE-2020-8694.
Intel states no accuracy, so none is claimed here.
"""

from power.meters.sysfs import SysfsMeter


class RaplMeter(SysfsMeter):
    """Energy of the processor packages with their memory, or of the whole platform where the machine has `psys`."""

    driver = "rapl"
    rail_drivers = ("rapl",)
