"""The INA3221 power monitors of NVIDIA Jetson modules, and the INA238 on the carrier of AGX Thor.

Source: TI SBOS576 "INA3221 Triple-Channel, High-Side Measurement, Shunt and Bus Voltage Monitor"; NVIDIA Jetson Linux Developer
Guide, "Software-Based Power Consumption Modeling"; Linux, Documentation/hwmon/ina3221.rst. Both kernels are read: NVIDIA's
ina3221x (JetPack 4 and older, IIO) and the mainline ina3221 (JetPack 5 and newer, hwmon: power is the product of two successive
reads of voltage and current). Rails and totals of the modules: power/rails/jetson.py.

The chip's own errors are in its data sheet, the tolerance of the module's shunts is not published: state it as
`shunt_tolerance` to get an uncertainty. The resistance is read from the kernel, or given as `shunt_ohm` where that does not
tell it (ina3221x).
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

from power.drivers.common.ina_registers import SENSORS
from power.drivers.common.ina_steps import channel_shunt_ohm, product_step_w
from power.drivers.common.onboard import OnBoard, Wanted
from power.errors import MeterUnavailable
from power.meter import Identity
from power.options import LARGEST_SHUNT_OHM, Options
from power.rails import Rail
from power.rails.jetson import CARRIER_INPUT, jetson_of
from power.specification import Specified, product_accuracy
from power.timebase import Timebase
from power.uncertainty import Accuracy, GainOffset

GAIN = 0.0025
"""Limit of the gain error of shunt and bus voltage, 25 °C."""
SHUNT_OFFSET_V = 80e-6
SHUNT_STEP_V = SENSORS["INA3221"].shunt_v
BUS_STEP_V = SENSORS["INA3221"].bus_v
NOMINAL_V = 5.0
"""What the module's rails are about, as long as nothing was read."""


class JetsonIna3221(OnBoard):
    """The module's total, or the sum of the rails that are named."""

    driver = "jetson-ina3221"
    rail_drivers: ClassVar[tuple[str, ...]] = ("hwmon", "iio")
    no_rails = (
        "the 2 GB Nano has no sensor, and in containers /sys may be missing; use a USB meter or the wall."
    )

    def __init__(
        self,
        timebase: Timebase,
        wanted: Wanted,
        *,
        shunt_tolerance: float | None = None,
        shunt_ohm: float | None = None,
    ) -> None:
        super().__init__(timebase, wanted)
        self._tolerance, self._ohm = shunt_tolerance, shunt_ohm
        self._shunts_ohm: tuple[float, ...] = ()

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take rails, interval_s, root, shunt_tolerance (a fraction) and shunt_ohm."""
        return cls(
            timebase,
            Wanted.from_options(options),
            shunt_tolerance=options.maybe("shunt_tolerance", low=0.0, high=0.2),
            shunt_ohm=options.maybe("shunt_ohm", above=0.0, high=LARGEST_SHUNT_OHM),
        )

    def connect(self) -> Identity:
        """Find the module's rails and its shunts."""
        identity = super().connect()
        if self._tolerance is not None:
            self._shunts_ohm = tuple(self._shunt_ohm(rail) for rail in self._rails)
        jetson = jetson_of(self._all_names)
        model = f"Jetson {jetson.name}" if jetson else identity.model
        return Identity("NVIDIA", model, identity.serial, None, identity.is_simulated)

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Return the chip's limits with the stated tolerance of the shunts; None without that."""
        if self._tolerance is None or not self._shunts_ohm:
            return None
        at_v = voltage_v or NOMINAL_V
        parts = [_rail_accuracy(self._tolerance, ohm, at_v) for ohm in self._shunts_ohm]
        step_w = self.resolution_w or math.hypot(*(part.resolution_w for part in parts))
        # The gains of the rails are of one batch of shunts and one chip: their sum is taken to share one gain.
        return GainOffset(
            parts[0].u_gain,
            math.hypot(*(part.u_offset_w for part in parts)),
            0.0,
            step_w,
            "TI SBOS576, shunt tolerance as stated",
        )

    def _is_mine(self, rail: Rail) -> bool:
        return super()._is_mine(rail) and (rail.name == CARRIER_INPUT or _is_ina3221(rail))

    def _step_w(self, rail: Rail) -> float | None:
        """Return the chip's step, which is wider than the mW that kernels show; None where the shunt is not known."""
        ohm = (self._ohm or channel_shunt_ohm(rail)) if _is_ina3221(rail) else None
        return (
            None
            if ohm is None
            else product_step_w(SENSORS["INA3221"], ohm, self._last.get(rail.name), NOMINAL_V)
        )

    def _shunt_ohm(self, rail: Rail) -> float:
        ohm = self._ohm or channel_shunt_ohm(rail)
        if ohm is not None:
            return ohm
        raise MeterUnavailable(
            f"The kernel does not tell the shunt of the rail '{rail.name}'; give shunt_ohm besides shunt_tolerance in farm.toml."
        )


def _is_ina3221(rail: Rail) -> bool:
    return rail.chip.startswith("ina3221")


def _rail_accuracy(tolerance: float, shunt_ohm: float, voltage_v: float) -> GainOffset:
    current = Specified(GAIN + tolerance, SHUNT_OFFSET_V / shunt_ohm)
    voltage = Specified(GAIN, 0.5 * BUS_STEP_V)
    step_w = voltage_v * SHUNT_STEP_V / shunt_ohm
    return product_accuracy(voltage, current, voltage_v, resolution_w=step_w, source="TI SBOS576")
