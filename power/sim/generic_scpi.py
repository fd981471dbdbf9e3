"""A simulated instrument with the few queries that most supplies and meters have."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from power.sim.common.load import Load
from power.sim.common.pacing import at_limit
from power.sim.common.scpi import ScpiSettings, ScpiSimulator, command
from power.sim.common.sensor import stated
from power.specification import Specified
from power.trace import Floats

VOLTAGE, CURRENT = Specified(0.001, 0.005), Specified(0.005, 0.002)
"""Limits of error of this simulation, and of it only; `options` states them as a user would."""
AVERAGING_S = 0.1


class SimulatedGenericScpi(ScpiSimulator):
    """Averages voltage and current over the 100 ms before a question."""

    driver = "scpi"
    idn = "Wattfarm,Bench supply,{serial},1.0"

    def __init__(self, load: Load, **settings: Unpack[ScpiSettings]) -> None:
        super().__init__(load, **settings)
        self._sensor = self.sensor_of(voltage=VOLTAGE, current=CURRENT)
        self._is_remote = False

    @property
    def options(self) -> dict[str, object]:
        """Address, queries, and the accuracy of this simulation."""
        return {
            **super().options,
            "identification": "Bench supply",
            "set_up": ["SYST:REM"],
            "make_safe": ["SYST:LOC"],
            "power_query": "MEAS:POW?",
            "reading": "average",
            "averaging_s": AVERAGING_S,
            "interval_s": AVERAGING_S,
            "accuracy": stated(VOLTAGE, CURRENT, self.load.supply_v),
        }

    @command("SYSTem:REMote")
    def remote(self, argument: str) -> None:
        """Lock the front panel."""
        self._is_remote = True

    @command("SYSTem:LOCal")
    def local(self, argument: str) -> None:
        """Unlock the front panel."""
        self._is_remote = False

    @command("MEASure[:SCALar]:POWer[:DC]?")
    def power(self, argument: str) -> str:
        """Tell the power."""
        volts, amperes = self._now()
        return _text(volts * amperes, self._is_over(amperes))

    @command("MEASure[:SCALar]:VOLTage[:DC]?")
    def voltage(self, argument: str) -> str:
        """Tell the voltage."""
        return _text(self._now()[0], False)

    @command("MEASure[:SCALar]:CURRent[:DC]?")
    def current(self, argument: str) -> str:
        """Tell the current."""
        amperes = self._now()[1]
        return _text(amperes, self._is_over(amperes))

    def _now(self) -> tuple[Floats, Floats]:
        end_s = np.array([self._sensor.now_s()])
        return self._sensor.mean(end_s - AVERAGING_S, end_s)

    def _is_over(self, amperes: Floats) -> bool:
        return bool(at_limit(self._sensor, amperes)[0])


def _text(value: Floats, is_over: bool) -> str:
    return "9.9E37" if is_over else f"{float(value[0]):.7E}"
