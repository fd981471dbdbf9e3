"""What the registers of Texas Instruments' INA219, INA226 and INA3221 mean.

Sources: TI SBOS448 (INA219), SBOS547 (INA226), SBOS576 (INA3221): register maps; limits of error are those of "Electrical
Characteristics".

    INA219    shunt 10 µV; bus 4 mV, above 3 bits of flags; current = shunt · calibration / 4096
    INA226    shunt 2.5 µV; bus 1.25 mV;                    current = shunt · calibration / 2048
    INA3221   shunt 40 µV and bus 8 mV, both above 3 empty bits; no registers of current and power
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from power.errors import OptionInvalid
from power.specification import Specified

MOST_CALIBRATION = 0xFFFF
OVERFLOW = 1
"""Of the INA219's bus register: the math overflowed."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """One of the three.

    shunt_v, bus_v       value of one digit
    shunt_shift, bus_shift   empty or flag bits below a value
    most_shunt           largest count of the shunt, either sign
    shunt, bus           limits of error, V
    calibration          what the calibration register is 1 ÷ (A per digit · Ω) of; None if it has none
    power_digits         digits of current in a digit of power
    channels             how many
    """

    name: str
    shunt_v: float
    bus_v: float
    shunt_shift: int
    bus_shift: int
    most_shunt: int
    shunt: Specified
    bus: Specified
    calibration: float | None
    power_digits: float
    channels: int

    def shunt_volts(self, register: int) -> float:
        """Return the voltage over the shunt, from the register as it was read (16 bits, two's complement)."""
        return (signed(register) >> self.shunt_shift) * self.shunt_v

    def bus_volts(self, register: int) -> float:
        """Return the voltage of the supply behind the shunt. The INA219's is never negative; its register has no sign."""
        value = register if self.name == "INA219" else signed(register)
        return (value >> self.bus_shift) * self.bus_v

    def is_over(self, shunt_register: int, bus_register: int) -> bool:
        """Whether the shunt's voltage was beyond what can be measured."""
        overflowed = self.name == "INA219" and bool(bus_register & OVERFLOW)
        return overflowed or abs(signed(shunt_register) >> self.shunt_shift) >= self.most_shunt

    def registers(self, shunt_v: float, bus_v: float) -> tuple[int, int]:
        """Return the registers that a shunt's voltage and a supply's give, as the sensor would."""
        count = min(self.most_shunt, max(-self.most_shunt, round(shunt_v / self.shunt_v)))
        bus = min(
            0x7FFF >> (0 if self.name == "INA226" else self.bus_shift), max(0, round(bus_v / self.bus_v))
        )
        return (count << self.shunt_shift) & 0xFFFF, (bus << self.bus_shift) & 0xFFFF

    def calibration_register(self, amperes_per_digit: float, shunt_ohm: float) -> int:
        """Return what makes the current register count in these steps. Raises OptionInvalid if nothing does."""
        if self.calibration is None:
            raise OptionInvalid(
                f"An {self.name} has no calibration register; divide its shunt's voltage by the resistance."
            )
        value = math.floor(self.calibration / (amperes_per_digit * shunt_ohm) + 1e-9)
        if not 1 <= value <= MOST_CALIBRATION:
            raise OptionInvalid(
                f"An {self.name} cannot count {amperes_per_digit:g} A on {shunt_ohm:g} Ω: its calibration register would be "
                f"{value}, not 1 to {MOST_CALIBRATION}; choose larger or smaller steps."
            )
        return value

    def watts_per_digit(self, amperes_per_digit: float) -> float:
        """Return the step of the power register."""
        return self.power_digits * amperes_per_digit


SENSORS: Mapping[str, Sensor] = {
    "INA219": Sensor(
        "INA219", 10e-6, 4e-3, 0, 3, 32000, Specified(0.005, 100e-6), Specified(0.005, 4e-3), 0.04096, 20.0, 1
    ),
    "INA226": Sensor(
        "INA226",
        2.5e-6,
        1.25e-3,
        0,
        0,
        32767,
        Specified(0.001, 10e-6),
        Specified(0.001, 7.5e-3),
        0.00512,
        25.0,
        1,
    ),
    "INA3221": Sensor(
        "INA3221", 40e-6, 8e-3, 3, 3, 4095, Specified(0.0025, 80e-6), Specified(0.0025, 8e-3), None, 0.0, 3
    ),
}


def signed(register: int) -> int:
    """Read 16 bits as two's complement."""
    return register - 0x10000 if register & 0x8000 else register
