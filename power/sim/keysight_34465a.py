"""A simulated Keysight 34465A: digitises a current into its memory, which can be emptied meanwhile or run over."""

from __future__ import annotations

from typing import Unpack

from power.drivers.keysight_34465a import (
    CURRENTS,
    LARGE_MEMORY,
    MEMORY_OVERFLOW,
    SHORTEST_APERTURE_S,
    STANDARD_MEMORY,
    VOLTAGES,
)
from power.sim.common.load import Load
from power.sim.common.multimeter import MultimeterSettings, SimulatedMultimeter, as_text
from power.sim.common.pacing import Paced, clock_error_ppm
from power.sim.common.scpi import ScpiError, command, number, word

MOST_READINGS = 1_000_000_000
PPM = 50.0


class SimulatedKeysight34465a(SimulatedMultimeter):
    """A multimeter paced by its timer; `has_large_memory`: with the option MEM."""

    driver = "keysight-34465a"
    idn = "Keysight Technologies,34465A,{serial},A.03.02-03.15-03.02-00.52-03-02"
    currents, voltages = CURRENTS, VOLTAGES
    supply_tolerance = 0.005
    most_readings = LARGE_MEMORY
    accepted = (
        "TRIGger:COUNt",
        "TRIGger:DELay",
        "TRIGger:SOURce",
        "SYSTem:LOCal",
        "FORMat:BORDer",
        "[SENSe:]CURRent[:DC]:ZERO:AUTO",
        "[SENSe:]VOLTage[:DC]:ZERO:AUTO",
        "[SENSe:]CURRent[:DC]:TERMinals",
    )

    def __init__(
        self, load: Load, *, has_large_memory: bool = False, **settings: Unpack[MultimeterSettings]
    ) -> None:
        super().__init__(load, **settings)
        self._memory = LARGE_MEMORY if has_large_memory else STANDARD_MEMORY
        self._aperture_s, self._interval_s, self._most = 1e-3, 0.01, 1
        self._is_timed = self._is_real = False

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
        return as_text(values)

    @command("STATus:QUEStionable[:EVENt]?")
    def questionable(self, argument: str) -> str:
        """Tell, once, that the memory ran over."""
        return f"{MEMORY_OVERFLOW if self._has_lost() else 0:+d}"
