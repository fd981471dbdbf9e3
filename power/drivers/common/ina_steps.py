"""The smallest step of power of Texas Instruments' current sensors, as Linux shows them.

Sources: TI SBOS448 (INA219), SBOS547 (INA226), SBOS576 (INA3221), SBOS656 (INA260): register maps, with the digits of
power/drivers/common/ina_registers.py; Linux, drivers/hwmon/ina2xx.c, which sets the calibration register so that a digit of
current is a digit of the shunt's voltage over its resistance, and Documentation/hwmon/{ina2xx,ina3221}.rst for the
resistances (µΩ).
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from power.drivers.common.ina_registers import SENSORS, Sensor
from power.rails import Rail
from power.rails.model import read_number
from power.sample import Sample

LIKE = {"ina219": "INA219", "ina220": "INA219", "ina226": "INA226", "ina230": "INA226", "ina231": "INA226"}
"""Name of the chip in Linux → the sensor whose digits it has."""
INA260_STEP_W = 0.010
HWMON_SCALE = 1e-6
"""Of power files in hwmon, µW; more where a rail's sensor stands for several phases."""


def chip_step_w(rail: Rail) -> float | None:
    """Return the digit of the power register of an INA2xx; None for other chips, or where its shunt is not told."""
    chip = re.match(r"ina\d+", rail.chip)
    if rail.power is None or rail.driver != "hwmon" or chip is None:
        return None
    factor = rail.power.scale / HWMON_SCALE
    if chip[0] == "ina260":
        return factor * INA260_STEP_W
    like = LIKE.get(chip[0])
    micro_ohm = read_number(str(Path(rail.source) / "shunt_resistor"))
    if like is None or not micro_ohm or micro_ohm <= 0.0:
        return None
    sensor = SENSORS[like]
    return factor * sensor.watts_per_digit(sensor.shunt_v / (1e-6 * micro_ohm))


def product_step_w(sensor: Sensor, shunt_ohm: float, last: Sample | None, usual_v: float) -> float:
    """Return the step of voltage × current, at the last reading; before there is one, that of current alone at a usual voltage.

    Both are rounded, each for itself: V · (shunt's digit ÷ R) and I · (bus digit), added in squares.
    """
    voltage_v, current_a = usual_v, 0.0
    if last is not None and last.voltage_v and last.current_a is not None:
        voltage_v, current_a = last.voltage_v, last.current_a
    return math.hypot(voltage_v * sensor.shunt_v / shunt_ohm, current_a * sensor.bus_v)


def channel_shunt_ohm(rail: Rail) -> float | None:
    """Return the shunt of a channel of an INA3221; None where the kernel does not tell it."""
    if rail.current is None:
        return None
    file = rail.current.path.replace("/curr", "/shunt").replace("_input", "_resistor")
    micro_ohm = read_number(file) if file.endswith("_resistor") else None
    return 1e-6 * micro_ohm if micro_ohm and micro_ohm > 0.0 else None
