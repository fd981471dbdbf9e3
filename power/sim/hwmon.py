"""A simulated board with one INA226 that the kernel's ina2xx shows through hwmon: averages, in the chip's steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np

from power.sim.common.load import Load
from power.sim.common.onboard import SimulatedTree, TreeSettings
from power.specification import Specified

SHUNT_OHM = 0.002
SHUNT_STEP_V, BUS_STEP_V = 2.5e-6, 1.25e-3
POWER_STEPS = 25.0
"""A step of power is 25 of current times a volt (TI SBOS547, INA226)."""
CHIP = "sys/class/hwmon/hwmon3"


class SimulatedHwmon(SimulatedTree):
    """Averages over 50 ms."""

    driver = "hwmon"
    renewal_s = 0.05
    voltage = Specified(0.001, 7.5e-3)
    current = Specified(0.001 + 0.01, 10e-6 / SHUNT_OHM)
    """The chip's gain and a shunt of 1 %; the chip's offset on the shunt."""

    def __init__(self, load: Load, **settings: Unpack[TreeSettings]) -> None:
        super().__init__(load, **settings)
        self.lay(f"{CHIP}/name", "ina226")
        self.lay(f"{CHIP}/shunt_resistor", round(SHUNT_OHM * 1e6))
        self.lay(f"{CHIP}/update_interval", round(self.renewal_s * 1e3))

    def values(self, begin_s: float, end_s: float) -> Mapping[str, object]:
        """Convert, and multiply as the chip does."""
        volts, amperes = self.sensor.mean(np.array([begin_s]), np.array([end_s]))
        step_a = SHUNT_STEP_V / SHUNT_OHM
        voltage_v = round(float(volts[0]) / BUS_STEP_V) * BUS_STEP_V
        current_a = round(float(amperes[0]) / step_a) * step_a
        step_w = POWER_STEPS * step_a
        power_w = round(voltage_v * current_a / step_w) * step_w
        return {
            f"{CHIP}/in1_input": round(voltage_v * 1e3),
            f"{CHIP}/curr1_input": round(current_a * 1e3),
            f"{CHIP}/power1_input": round(power_w * 1e6),
        }
