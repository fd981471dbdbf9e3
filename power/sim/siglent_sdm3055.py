"""A simulated Siglent SDM3055: readings at its own pace into a memory that silently forgets the oldest."""

from __future__ import annotations

from typing import Unpack

from power.drivers.siglent_sdm3055 import (
    CURRENTS,
    MEMORY_OVERFLOW,
    MEMORY_READINGS,
    READINGS_PER_S,
    VOLTAGES,
)
from power.sim.common.load import Load
from power.sim.common.multimeter import MultimeterSettings, SimulatedMultimeter
from power.sim.common.pacing import Paced, clock_error_ppm
from power.sim.common.scpi import ScpiError, command, word
from power.specification import Specified
from power.trace import Floats

OF_READING, OF_RANGE = 0.003, 0.0003
"""Limits of error of this simulation, and of it only; `options` states them as a user would."""
PACE_PPM = 5000.0
"""Nothing keeps its pace but the mains."""


class SimulatedSiglentSdm3055(SimulatedMultimeter):
    """A multimeter that keeps the pace of its integration time."""

    driver = "siglent-sdm3055"
    idn = "Siglent Technologies,SDM3055,{serial},1.01.01.25"
    currents, voltages = CURRENTS, VOLTAGES
    supply_tolerance = 0.002
    most_readings = MEMORY_READINGS
    accepted = (
        "SYSTem:LOCal",
        "TRIGger:SOURce",
        "TRIGger:DELay",
        "SAMPle:COUNt",
    )

    def __init__(self, load: Load, **settings: Unpack[MultimeterSettings]) -> None:
        super().__init__(load, **settings)
        self._nplc = "10"
        self._is_endless = False
        self._has_overloaded = False

    def limits(self) -> Specified:
        """Those of this simulation: Siglent states none."""
        return Specified(OF_READING, OF_RANGE * self.wiring.range_)

    @property
    def options(self) -> dict[str, object]:
        """Address, wiring, and the accuracy of this simulation."""
        wiring = self.wiring
        accuracy = {
            "gain": OF_READING + wiring.supply_tolerance + wiring.shunt_tolerance,
            "offset_w": OF_RANGE * wiring.range_ * wiring.supply_v / (wiring.shunt_ohm or 1.0),
        }
        return {**super().options, "accuracy": accuracy}

    @command("[SENSe:]CURRent[:DC]:NPLC", "[SENSe:]VOLTage[:DC]:NPLC")
    def integration_time(self, argument: str) -> None:
        """Choose the integration time."""
        self._nplc = word(argument, *READINGS_PER_S)

    @command("[SENSe:]CURRent[:DC]:RANGe?", "[SENSe:]VOLTage[:DC]:RANGe?")
    def range_now(self, argument: str) -> str:
        """Tell the range; an overload moved it up."""
        wider = [one for one in self.ranges if one > self._range]
        if self._has_overloaded and self.wiring.function == "current" and wider:
            return f"{wider[0]:+.8E}"
        return f"{self._range:+.8E}"

    @command("TRIGger:COUNt")
    def trigger_count(self, argument: str) -> None:
        """Choose how often it is triggered."""
        self._is_endless = argument.strip().upper().startswith("INF")

    @command("INITiate[:IMMediate]")
    def initiate(self, argument: str) -> None:
        """Start; the memory is empty then."""
        if not (self._range and self._is_endless):
            raise ScpiError(-221, "Settings conflict")
        pace_s = 1.0 / READINGS_PER_S[self._nplc]
        ppm = clock_error_ppm(self.seed, PACE_PPM, self.faults.clock_ppm)
        self._has_overloaded = False
        self._paced = Paced(self._input.sensor, pace_s, pace_s, ppm=ppm, memory=MEMORY_READINGS)

    @command("STATus:QUEStionable[:EVENt]?")
    def questionable(self, argument: str) -> str:
        """Tell, once, that the memory ran over."""
        return str(MEMORY_OVERFLOW if self._has_lost() else 0)

    def _taken(self, count: int) -> Floats:
        values = super()._taken(count)
        self._has_overloaded = self._has_overloaded or bool((abs(values) > 1e30).any())
        return values
