"""A simulated Siglent SDM3055: readings at its own pace into a memory that silently forgets the oldest."""

from __future__ import annotations

import re

from power.drivers.common.multimeter import Wiring
from power.drivers.siglent_sdm3055 import (
    CURRENTS,
    MEMORY_OVERFLOW,
    MEMORY_READINGS,
    READINGS_PER_S,
    VOLTAGES,
)
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.multimeter import MultimeterInput, fitting_range
from power.sim.common.pacing import Paced, clock_error_ppm
from power.sim.common.scpi import ScpiError, ScpiSimulator, command, number, word
from power.specification import Specified
from power.timebase import HOST_TIME, Timebase

OF_READING, OF_RANGE = 0.003, 0.0003
"""Limits of error of this simulation, and of it only; `options` states them as a user would."""
PACE_PPM = 5000.0
"""Nothing keeps its pace but the mains."""


class SimulatedSiglentSdm3055(ScpiSimulator):
    """A multimeter in the supply line."""

    driver = "siglent-sdm3055"
    supply_v = 12.0
    idn = "Siglent Technologies,SDM3055,{serial},1.01.01.25"

    def __init__(
        self,
        load: Load,
        *,
        timebase: Timebase = HOST_TIME,
        faults: Faults | None = None,
        seed: int | None = None,
        port: int = 0,
        wiring: Wiring | None = None,
    ) -> None:
        super().__init__(load, timebase=timebase, faults=faults, seed=seed, port=port)
        self.wiring = wiring or Wiring("current", fitting_range(CURRENTS, load), load.supply_v, 0.002)
        limits = Specified(OF_READING, OF_RANGE * self.wiring.range_)
        self._input = MultimeterInput(load, timebase, self.wiring, limits, faults=self.faults, seed=seed)
        self._range = 0.0
        self._nplc = "10"
        self._is_endless = False
        self._paced: Paced | None = None
        self._has_overloaded = False

    @property
    def options(self) -> dict[str, object]:
        """Address, wiring, and the accuracy of this simulation."""
        wiring = self.wiring
        per_ampere = wiring.shunt_ohm or 1.0
        found: dict[str, object] = {
            **super().options,
            "function": wiring.function,
            "range": wiring.range_,
            "supply_v": wiring.supply_v,
            "supply_tolerance": wiring.supply_tolerance,
            "supply_at": "board" if wiring.is_supply_at_board else "source",
            "accuracy": {
                "gain": OF_READING + wiring.supply_tolerance + wiring.shunt_tolerance,
                "offset_w": OF_RANGE * wiring.range_ * wiring.supply_v / per_ampere,
            },
        }
        if wiring.shunt_ohm is not None:
            found |= {"shunt_ohm": wiring.shunt_ohm, "shunt_tolerance": wiring.shunt_tolerance}
        return found

    @command("SYSTem:LOCal", "TRIGger:SOURce", "TRIGger:DELay", "SAMPle:COUNt")
    def accept(self, argument: str) -> None:
        """Take a setting that this simulation always has."""

    @command("CONFigure:CURRent[:DC]")
    def configure_current(self, argument: str) -> None:
        """Choose current and range."""
        self._configure("current", argument)

    @command("CONFigure:VOLTage[:DC]")
    def configure_voltage(self, argument: str) -> None:
        """Choose voltage and range."""
        self._configure("voltage", argument)

    @command("[SENSe:]CURRent[:DC]:NPLC", "[SENSe:]VOLTage[:DC]:NPLC")
    def integration_time(self, argument: str) -> None:
        """Choose the integration time."""
        self._nplc = word(argument, *READINGS_PER_S)

    @command("[SENSe:]CURRent[:DC]:RANGe?", "[SENSe:]VOLTage[:DC]:RANGe?")
    def range_now(self, argument: str) -> str:
        """Tell the range; an overload moved it up."""
        ranges = CURRENTS if self.wiring.function == "current" else VOLTAGES
        wider = [one for one in ranges if one > self._range]
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

    @command("ABORt")
    def abort(self, argument: str) -> None:
        """Stop; the readings stay."""
        if self._paced is not None:
            self._paced.stop()

    @command("R?")
    def read_and_remove(self, argument: str) -> bytes:
        """Return and forget all readings, as text in a block."""
        if self._paced is None:
            raise ScpiError(-230, "Data corrupt or stale")
        most = int(number(argument, 1, MEMORY_READINGS)) if argument else MEMORY_READINGS
        _, current_a = self._paced.take(most)
        values = self._input.readings(current_a)
        self._has_overloaded = self._has_overloaded or bool((abs(values) > 1e30).any())
        return self.block(",".join(f"{value:+.8E}" for value in values).encode())

    @command("STATus:QUEStionable[:EVENt]?")
    def questionable(self, argument: str) -> str:
        """Tell, once, that the memory ran over."""
        has_lost = self._paced is not None and self._paced.has_lost
        if self._paced is not None:
            self._paced.has_lost = False
        return str(MEMORY_OVERFLOW if has_lost else 0)

    def _configure(self, function: str, argument: str) -> None:
        found = re.match(r"[-+0-9.eE]+", argument)
        if function != self.wiring.function or found is None:
            raise ScpiError(-221, "Settings conflict; nothing is connected to that input")
        if float(found[0]) not in (CURRENTS if function == "current" else VOLTAGES):
            raise ScpiError(-222, "Data out of range")
        self._range, self._paced = float(found[0]), None
