"""A simulated Keysight 34465A: digitises a current into its memory, which can be emptied meanwhile or run over."""

from __future__ import annotations

import re

import numpy as np

from power.drivers.common.multimeter import Wiring
from power.drivers.keysight_34465a import (
    CURRENTS,
    LARGE_MEMORY,
    MEMORY_OVERFLOW,
    SHORTEST_APERTURE_S,
    STANDARD_MEMORY,
    VOLTAGES,
)
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.multimeter import MultimeterInput, fitting_range
from power.sim.common.pacing import Paced, clock_error_ppm
from power.sim.common.scpi import ScpiError, ScpiSimulator, command, number, word
from power.timebase import HOST_TIME, Timebase

MOST_READINGS = 1_000_000_000
PPM = 50.0


class SimulatedKeysight34465a(ScpiSimulator):
    """A multimeter in the supply line, or over a shunt: `wiring` says which."""

    driver = "keysight-34465a"
    supply_v = 12.0
    idn = "Keysight Technologies,34465A,{serial},A.03.02-03.15-03.02-00.52-03-02"

    def __init__(
        self,
        load: Load,
        *,
        timebase: Timebase = HOST_TIME,
        faults: Faults | None = None,
        seed: int | None = None,
        port: int = 0,
        wiring: Wiring | None = None,
        has_large_memory: bool = False,
    ) -> None:
        super().__init__(load, timebase=timebase, faults=faults, seed=seed, port=port)
        self.wiring = wiring or Wiring("current", fitting_range(CURRENTS, load), load.supply_v, 0.005)
        ranges = CURRENTS if self.wiring.function == "current" else VOLTAGES
        self._input = MultimeterInput(
            load, timebase, self.wiring, ranges[self.wiring.range_], faults=self.faults, seed=seed
        )
        self._memory = LARGE_MEMORY if has_large_memory else STANDARD_MEMORY
        self._aperture_s, self._interval_s, self._most = 1e-3, 0.01, 1
        self._is_timed = self._is_real = False
        self._range = 0.0
        self._paced: Paced | None = None

    @property
    def options(self) -> dict[str, object]:
        """Address and wiring."""
        wiring = self.wiring
        found: dict[str, object] = {
            **super().options,
            "function": wiring.function,
            "range": wiring.range_,
            "supply_v": wiring.supply_v,
            "supply_tolerance": wiring.supply_tolerance,
            "supply_at": "board" if wiring.is_supply_at_board else "source",
        }
        if wiring.shunt_ohm is not None:
            found |= {"shunt_ohm": wiring.shunt_ohm, "shunt_tolerance": wiring.shunt_tolerance}
        return found

    @command(
        "TRIGger:COUNt",
        "TRIGger:DELay",
        "TRIGger:SOURce",
        "SYSTem:LOCal",
        "FORMat:BORDer",
        "[SENSe:]CURRent[:DC]:ZERO:AUTO",
        "[SENSe:]VOLTage[:DC]:ZERO:AUTO",
        "[SENSe:]CURRent[:DC]:TERMinals",
    )
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

    @command("[SENSe:]CURRent[:DC]:APERture", "[SENSe:]VOLTage[:DC]:APERture")
    def aperture(self, argument: str) -> None:
        """Choose the time that a reading averages over."""
        self._aperture_s = number(argument, SHORTEST_APERTURE_S, 1.0)

    @command("[SENSe:]CURRent[:DC]:APERture?", "[SENSe:]VOLTage[:DC]:APERture?")
    def aperture_now(self, argument: str) -> str:
        """Tell the aperture."""
        return f"{self._aperture_s:+.8E}"

    @command("SAMPle:SOURce")
    def sample_source(self, argument: str) -> None:
        """Choose what paces the readings."""
        self._is_timed = word(argument, "IMMediate", "TIMer") == "TIM"

    @command("SAMPle:TIMer")
    def timer(self, argument: str) -> None:
        """Choose the time between readings."""
        self._interval_s = number(argument, self._aperture_s, 3600.0)

    @command("SAMPle:TIMer?")
    def timer_now(self, argument: str) -> str:
        """Tell the time between readings, or the shortest."""
        return f"{self._aperture_s if argument.upper().startswith('MIN') else self._interval_s:+.8E}"

    @command("SAMPle:COUNt")
    def count(self, argument: str) -> None:
        """Choose after how many readings it stops."""
        self._most = int(number(argument, 1, MOST_READINGS))

    @command("SAMPle:COUNt?")
    def count_now(self, argument: str) -> str:
        """Tell how many readings it takes, or the most."""
        return f"{MOST_READINGS if argument.upper().startswith('MAX') else self._most:+d}"

    @command("FORMat[:DATA]")
    def format(self, argument: str) -> None:
        """Choose text or doubles."""
        kind = argument.split(",")[0]
        self._is_real = word(kind, "ASCii", "REAL") == "REAL"

    @command("INITiate[:IMMediate]")
    def initiate(self, argument: str) -> None:
        """Start; the memory is empty then."""
        if not (self._range and self._is_timed):
            raise ScpiError(-221, "Settings conflict")
        self._paced = Paced(
            self._input.sensor,
            self._interval_s,
            self._aperture_s,
            ppm=clock_error_ppm(self.seed, PPM, self.faults.clock_ppm),
            memory=self._memory,
            most=self._most,
        )

    @command("ABORt")
    def abort(self, argument: str) -> None:
        """Stop; the readings stay."""
        if self._paced is not None:
            self._paced.stop()

    @command("DATA:POINts?")
    def points(self, argument: str) -> str:
        """Tell how many readings wait."""
        return f"{0 if self._paced is None else self._paced.available:+d}"

    @command("DATA:REMove?")
    def remove(self, argument: str) -> bytes | str:
        """Return and forget the oldest readings; that many there have to be."""
        wanted = int(number(argument, 1, LARGE_MEMORY))
        if self._paced is None or self._paced.available < wanted:
            raise ScpiError(-230, "Data corrupt or stale")
        values = self._taken(wanted)
        if self._is_real:
            return self.block(values.astype(">f8").tobytes())
        return _text(values)

    @command("R?")
    def read_and_remove(self, argument: str) -> bytes:
        """Return and forget the oldest readings, as text in a block."""
        wanted = int(number(argument, 1, LARGE_MEMORY)) if argument else LARGE_MEMORY
        return self.block(_text(self._taken(wanted)).encode())

    @command("STATus:QUEStionable[:EVENt]?")
    def questionable(self, argument: str) -> str:
        """Tell, once, that the memory ran over."""
        paced = self._paced
        bits = MEMORY_OVERFLOW if paced is not None and paced.has_lost else 0
        if paced is not None:
            paced.has_lost = False
        return f"{bits:+d}"

    def _configure(self, function: str, argument: str) -> None:
        found = re.match(r"[-+0-9.eE]+", argument)
        if function != self.wiring.function or found is None:
            raise ScpiError(-221, "Settings conflict; nothing is connected to that input")
        ranges = CURRENTS if function == "current" else VOLTAGES
        if float(found[0]) not in ranges:
            raise ScpiError(-222, "Data out of range")
        self._range, self._paced = float(found[0]), None

    def _taken(self, count: int) -> np.ndarray:
        if self._paced is None:
            raise ScpiError(-230, "Data corrupt or stale")
        _, current_a = self._paced.take(count)
        return self._input.readings(current_a)


def _text(values: np.ndarray) -> str:
    return ",".join(f"{value:+.8E}" for value in values)
