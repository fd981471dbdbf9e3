"""The power rails of NVIDIA Jetson modules, and which of them add up to the whole. Standard library only: farmd imports this.

Sources: NVIDIA Jetson Linux Developer Guide, "Software-Based Power Consumption Modeling" (later "Platform Power and
Performance"); device trees of Jetson Linux 32.6.1; energymon, jetson/JetsonPowerRails.md (TX2: VDD_IN and VDD_MUX are in
parallel); rbonghi/jetson_stats, issues 51 and 344 (totals that were wrong) and jtop/core/power.py (INA238 of AGX Thor). Neither
of the module's sensors sees the carrier board, unless the carrier has one of its own.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

Channels = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Jetson:
    """One module.

    chips     I²C address of each INA3221 → labels of its channels; None is not connected
    known_by  labels that together tell the module
    total     labels whose sum is the power of the module: either its input or all there is
    parallel  labels of a carrier's input beside the module's: added where it is there, and the whole is the board then
    carrier   label of a carrier's sensor before everything else: it is the total where it is there
    """

    name: str
    chips: Mapping[int, Channels]
    known_by: tuple[str, ...]
    total: tuple[str, ...]
    parallel: tuple[str, ...] = ()
    carrier: str | None = None
    carrier_chips: Mapping[int, Channels] = field(default_factory=dict)

    def total_of(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the rails that add up to the whole; () if not all of them are there."""
        if self.carrier is not None and self.carrier in names:
            return (self.carrier,)
        if not self.total or not set(names).issuperset(self.total):
            return ()
        return self.total + tuple(name for name in self.parallel if name in names)

    def scope_of(self, total: Collection[str]) -> str:
        """Return what the total of `total_of` covers: "module", or "board" where the carrier has a sensor."""
        with_carrier = self.carrier in total or any(name in total for name in self.parallel)
        return "board" if with_carrier else "module"


CARRIER_INPUT = "VIN"
"""What the INA238 of AGX Thor's carrier measures; the sensor itself carries no label."""
CARRIER_CHIP = "ina238"

JETSONS = (
    Jetson(
        "AGX Thor",
        {0x40: ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0")},
        known_by=("VDD_GPU", "VDD_CPU_SOC_MSS"),
        total=(),  # nobody says that the three are all of it
        carrier=CARRIER_INPUT,
    ),
    Jetson(
        "AGX Orin",
        {0x40: ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), 0x41: (None, "VDDQ_VDD2_1V8AO", None)},
        known_by=("VDD_GPU_SOC", "VDD_CPU_CV"),
        total=("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # the 5 V input already feeds VDDQ
    ),
    Jetson(
        "AGX Xavier",
        {0x40: ("GPU", "CPU", "SOC"), 0x41: ("CV", "VDDRQ", "SYS5V")},
        known_by=("GPU", "CPU", "SOC", "CV", "VDDRQ"),
        total=("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
    ),
    Jetson(
        "Orin NX, Orin Nano",
        {0x40: ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")},
        known_by=("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
        total=("VDD_IN",),
    ),
    Jetson(
        "Xavier NX",
        {0x40: ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")},
        known_by=("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"),
        total=("VDD_IN",),
    ),
    Jetson(
        "TX2 NX",
        {0x40: ("VDD_IN", "VDD_CPU_GPU", "VDD_SOC")},
        known_by=("VDD_IN", "VDD_CPU_GPU", "VDD_SOC"),
        total=("VDD_IN",),
    ),
    Jetson(
        "TX2",
        {
            0x40: ("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI"),
            0x41: ("VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR"),
        },
        known_by=("VDD_IN", "VDD_SYS_GPU", "VDD_SYS_SOC"),
        total=("VDD_IN",),
        parallel=("VDD_MUX",),
        carrier_chips={
            0x42: ("VDD_MUX", "VDD_5V0_IO_SYS", "VDD_3V3_SYS"),
            0x43: ("VDD_3V3_IO_SLP", "VDD_1V8_IO", "VDD_3V3_SYS_M2"),
        },
    ),
    Jetson(
        "Nano",
        {0x40: ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU")},
        known_by=("POM_5V_IN",),
        total=("POM_5V_IN",),
    ),
)

IN_TEGRASTATS = (
    # tegrastats of Jetson Linux 28 to 32 prints shorter names than the sensors' own.
    Jetson(
        "TX2, in tegrastats",
        {},
        known_by=("VDD_IN", "VDD_CPU", "VDD_GPU", "VDD_SOC"),
        total=("VDD_IN",),
        parallel=("VDD_MUX",),
    ),
)

MODULE_INPUTS = frozenset({"VDD_IN", "POM_5V_IN"})
"""Rails that feed all others of a module."""


def jetson_of(names: Collection[str]) -> Jetson | None:
    """Return the module that has these rails; None for one that is not known."""
    found = set(names)
    return next((one for one in (*JETSONS, *IN_TEGRASTATS) if found.issuperset(one.known_by)), None)
