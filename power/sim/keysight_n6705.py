"""A simulated Keysight N6705 with one N6781A: its external data log, with a buffer that runs over."""

from __future__ import annotations

import re
from typing import Unpack

import numpy as np

from power.drivers.keysight_n6705 import (
    BUFFER_S,
    CURRENTS,
    LONGEST_S,
    OVER_RANGE,
    QUANTITIES,
    SHORTEST_S,
    VOLTAGES,
)
from power.sim.common.load import Load
from power.sim.common.pacing import Paced, clock_error_ppm, topped
from power.sim.common.scpi import ScpiError, ScpiSettings, ScpiSimulator, command, number, on_off, word
from power.sim.common.sensor import Sensor

STEP_S = 20.48e-6
"""Periods are whole numbers of this."""
PPM = 50.0


class SimulatedKeysightN6705(ScpiSimulator):
    """A mainframe with a module in slot 1 that feeds the board; what it reads has the errors of its data sheet."""

    driver = "keysight-n6705"
    supply_v = 12.0
    idn = "Keysight Technologies,N6705C,{serial},E.02.07.2958"
    accepted = (
        "FORMat:BORDer",
        "SYSTem:COMMunicate:RLSTate",
        "TRIGger:TRANsient:SOURce",
        "SENSe:ELOG:FUNCtion:CURRent:MINMax",
        "SENSe:ELOG:FUNCtion:VOLTage:MINMax",
    )

    def __init__(self, load: Load, *, module: str = "N6781A", **settings: Unpack[ScpiSettings]) -> None:
        super().__init__(load, **settings)
        self._module = module
        self._range_a, self._range_v = 3.0, 20.0
        self._period_s = 0.1
        self._logged: set[str] = set()
        self._is_real = self._is_armed = False
        self._log: Paced | None = None
        self._sensor = self._sensor_on()

    @property
    def options(self) -> dict[str, object]:
        """Address and channel."""
        return {**super().options, "channel": 1}

    @command("SYSTem:CHANnel:MODel?")
    def module(self, argument: str) -> str:
        """Tell which module is in the slot."""
        self._channel(argument)
        return f'"{self._module}"'

    @command("FORMat[:DATA]")
    def format(self, argument: str) -> None:
        """Choose text or floats."""
        self._is_real = word(argument, "ASCii", "REAL") == "REAL"

    @command("SENSe:ELOG:FUNCtion:CURRent")
    def log_current(self, argument: str) -> None:
        """Choose whether current is logged."""
        self._choose("I", argument)

    @command("SENSe:ELOG:FUNCtion:VOLTage")
    def log_voltage(self, argument: str) -> None:
        """Choose whether voltage is logged."""
        self._choose("V", argument)

    @command("SENSe:ELOG:CURRent[:DC]:RANGe")
    def current_range(self, argument: str) -> None:
        """Choose the range that takes this current."""
        self._range_a = _range(self._channel(argument), tuple(CURRENTS))
        self._sensor = self._sensor_on()

    @command("SENSe:ELOG:VOLTage[:DC]:RANGe")
    def voltage_range(self, argument: str) -> None:
        """Choose the range that takes this voltage."""
        self._range_v = _range(self._channel(argument), tuple(VOLTAGES))

    @command("SENSe:ELOG:PERiod")
    def period(self, argument: str) -> None:
        """Choose the period; it is rounded to what the module can."""
        wanted_s = number(self._channel(argument), SHORTEST_S * max(1, len(self._logged)), LONGEST_S)
        self._period_s = round(wanted_s / STEP_S) * STEP_S

    @command("SENSe:ELOG:PERiod?")
    def period_now(self, argument: str) -> str:
        """Tell the period."""
        return f"{self._period_s:+.8E}"

    @command("INITiate[:IMMediate]:ELOG")
    def initiate(self, argument: str) -> None:
        """Wait for the trigger."""
        self._channel(argument)
        if len(self._logged) != QUANTITIES:
            raise ScpiError(-221, "Settings conflict")
        self._is_armed, self._log = True, None

    @command("TRIGger:ELOG[:IMMediate]")
    def trigger(self, argument: str) -> None:
        """Start the log."""
        if not self._is_armed:
            raise ScpiError(-211, "Trigger ignored")
        self._is_armed = False
        self._log = Paced(
            self._sensor,
            self._period_s,
            self._period_s,
            ppm=clock_error_ppm(self.seed, PPM, self.faults.clock_ppm),
            memory=int(BUFFER_S / self._period_s),
        )

    @command("ABORt:ELOG")
    def abort(self, argument: str) -> None:
        """End the log."""
        self._is_armed, self._log = False, None

    @command("FETCh:ELOG?")
    def fetch(self, argument: str) -> bytes:
        """Return and forget the oldest records."""
        wanted = int(number(self._channel(argument), 1, 16384))
        if self._log is None:
            raise ScpiError(-230, "Data corrupt or stale")
        if not self._is_real:
            raise ScpiError(-221, "Settings conflict; this simulation logs floats only")
        available = self._log.available
        if self._log.has_lost:
            self.errors.append(ScpiError(310, "ELOG buffer overrun"))
            self._log.has_lost = False
        volts, amperes = self._log.take(min(wanted, available))
        amperes = topped(self._sensor, amperes, 1.001 * OVER_RANGE * self._range_a)
        return self.block(np.column_stack((amperes, volts)).astype(">f4").tobytes())

    def _sensor_on(self) -> Sensor:
        return self.sensor_of(voltage=VOLTAGES[self._range_v], current=CURRENTS[self._range_a])

    def _choose(self, quantity: str, argument: str) -> None:
        if on_off(self._channel(argument)):
            self._logged.add(quantity)
        else:
            self._logged.discard(quantity)

    def _channel(self, argument: str) -> str:
        """Take the list of channels off an argument; there is channel 1 only."""
        found = re.fullmatch(r"(.*?),?\s*\(@(\d+)\)", argument)
        if found is None:
            raise ScpiError(-109, "Missing parameter")
        if found[2] != "1":
            raise ScpiError(-241, "Hardware missing")
        return found[1].strip()


def _range(argument: str, known: tuple[float, ...]) -> float:
    wanted = number(argument, 0.0, max(known))
    return min(one for one in known if one >= wanted)
