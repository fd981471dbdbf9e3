"""A simulated R&S NGU401: FastLog in pieces of 250 ms, each overwritten by the next one if nobody fetches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

import numpy as np

from power.drivers.rs_ngu import AVAILABLE, OVER_RANGE, PIECE_S, RATES, SKIPPED
from power.sim.common.load import Load
from power.sim.common.pacing import Paced, clock_error_ppm, topped
from power.sim.common.scpi import ScpiError, ScpiSettings, ScpiSimulator, command, number, on_off, word
from power.sim.common.sensor import stated
from power.specification import Specified

RANGES_A = (10e-6, 0.001, 0.01, 0.1, 3.0, 8.0)
VOLTAGE, CURRENT = Specified(0.001, 0.005), Specified(0.005, 0.002)
"""Limits of error of this simulation, and of it only; `options` states them as a user would."""
PPM = 50.0


class SimulatedRsNgu(ScpiSimulator):
    """One channel that feeds the board."""

    driver = "rs-ngu"
    supply_v = 12.0
    idn = "Rohde&Schwarz,NGU401,{serial},02.018"
    rates: ClassVar[Mapping[float, str]] = RATES
    accepted = (
        "STATus:OPERation:INSTrument:ISUMmary<n>:PTRansition",
        "STATus:QUEStionable:INSTrument:ISUMmary<n>:PTRansition",
        "SENSe:CURRent:RANGe:AUTO",
        "SYSTem:LOCal",
    )

    def __init__(self, load: Load, **settings: Unpack[ScpiSettings]) -> None:
        super().__init__(load, **settings)
        self._sensor = self.sensor_of(voltage=VOLTAGE, current=CURRENT)
        self._rate_hz, self._range_a = 500e3, RANGES_A[-1]
        self._is_for_scpi = False
        self._log: Paced | None = None
        self._fetched = 0

    @property
    def options(self) -> dict[str, object]:
        """Address, range, and the accuracy of this simulation."""
        accuracy = stated(VOLTAGE, CURRENT, self.load.supply_v)
        return {**super().options, "current_range_a": 3.0, "accuracy": accuracy}

    @command("INSTrument[:SELect]")
    def select(self, argument: str) -> None:
        """Choose the channel."""
        word(argument, "OUT1")

    @command("SENSe:CURRent:RANGe[:UPPer]")
    def current_range(self, argument: str) -> None:
        """Choose the range."""
        wanted = number(argument, 0.0, RANGES_A[-1])
        self._range_a = min(one for one in RANGES_A if one >= wanted)

    @command("FLOG:TARGet")
    def target(self, argument: str) -> None:
        """Choose where the data go."""
        self._is_for_scpi = word(argument, "SCPI", "USB") == "SCPI"

    @command("FLOG:SRATe")
    def rate(self, argument: str) -> None:
        """Choose the rate."""
        for rate_hz, name in self.rates.items():
            if argument.strip().upper() == name.upper():
                self._rate_hz = rate_hz
                return
        raise ScpiError(-224, f"Illegal parameter value; {argument}")

    @command("FLOG[:STATe]")
    def state(self, argument: str) -> None:
        """Start or stop."""
        self._log = None
        if not on_off(argument):
            return
        if not self._is_for_scpi:
            raise ScpiError(-221, "Settings conflict")
        ppm = clock_error_ppm(self.seed, PPM, self.faults.clock_ppm)
        self._log, self._fetched = Paced(self._sensor, 1.0 / self._rate_hz, ppm=ppm), 0

    @command("STATus:OPERation:INSTrument:ISUMmary<n>[:EVENt]?")
    def operation(self, argument: str, channel: int) -> str:
        """Tell whether a piece waits."""
        return str(AVAILABLE if self._pieces > self._fetched else 0)

    @command("STATus:QUEStionable:INSTrument:ISUMmary<n>[:EVENt]?")
    def questionable(self, argument: str, channel: int) -> str:
        """Tell whether a piece was overwritten."""
        return str(SKIPPED if self._pieces > self._fetched + 1 else 0)

    @command("FLOG:DATA?")
    def data(self, argument: str) -> bytes:
        """Return the last piece, and skip what was before."""
        log, pieces = self._log, self._pieces
        if log is None or pieces == self._fetched:
            return self.block(b"")
        size = self._piece
        log.take((pieces - 1 - self._fetched) * size)
        volts, amperes = log.take(size)
        self._fetched = pieces
        amperes = topped(self._sensor, amperes, 1.001 * OVER_RANGE * self._range_a)
        return self.block(np.column_stack((volts, amperes)).astype("<f4").tobytes())

    @property
    def _piece(self) -> int:
        return round(PIECE_S * self._rate_hz)

    @property
    def _pieces(self) -> int:
        return 0 if self._log is None else self._log.made // self._piece
