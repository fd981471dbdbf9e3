"""A simulated Yokogawa WT310E: averages over each update, ranges, integration."""

from __future__ import annotations

import math
from typing import Unpack

import numpy as np

from power.drivers.yokogawa_wt310 import CURRENT_RANGES_A, INPUTS, UPDATES_S, VOLTAGE_RANGES_V
from power.sim.common.load import Load
from power.sim.common.scpi import ScpiError, ScpiSettings, ScpiSimulator, command, number, on_off, word

SUPPRESSED = 0.005
"""Of the range: what RMS and VMEan mode show as 0."""
JUMPS_UP_TO_A = 0.2
"""Fixed ranges up to here go to 1 A on an overload."""


class SimulatedWt310(ScpiSimulator):
    """DC on a supply; current and voltage ranges as the instrument has them."""

    driver = "yokogawa-wt310"
    idn = "YOKOGAWA,WT310E,{serial},F1.03"
    accepted = (
        "COMMunicate:HEADer",
        "COMMunicate:REMote",
        "STATus:FILTer<n>",
        "NUMeric:FORMat",
        "NUMeric:NORMal:NUMBer",
    )

    def __init__(self, load: Load, **settings: Unpack[ScpiSettings]) -> None:
        super().__init__(load, **settings)
        self._rng = np.random.default_rng(0 if self.seed is None else self.seed)
        drawn = (0.0, 0.0) if self.seed is None else self._rng.uniform(-1.0, 1.0, 2)
        self._gain, self._offset = map(float, drawn)
        self._period_s = 0.25
        self._range = {"V": 15.0, "A": 1.0}
        self._is_auto = {"V": False, "A": False}
        self._input = "dc"
        self._counted: tuple[float, float] | None = None
        self._stopped_j = 0.0
        self._state = "RES"
        self._origin_s = self._now_s()

    @command("NUMeric:NORMal:ITEM<n>")
    def item(self, argument: str, number: int) -> None:
        """Take U, I, P, WH in this order only."""
        if argument.upper() != ("U,1", "I,1", "P,1", "WH,1")[number - 1]:
            raise ScpiError(-224, f"Illegal parameter value; {argument}")

    @command("INPut:MODE")
    def input_mode(self, argument: str) -> None:
        """Choose RMS, VMEan or DC."""
        self._settable()
        chosen = word(argument, "RMS", "VMEan", "DC")
        self._input = {"RMS": "rms", "VME": "vmean", "DC": "dc"}[chosen]

    @command("RATE")
    def rate(self, argument: str) -> None:
        """Choose the update period."""
        self._settable()
        for period_s, name in UPDATES_S.items():
            if argument.upper() == name:
                self._period_s = period_s
                return
        raise ScpiError(-224, f"Illegal parameter value; {argument}")

    @command("INPut:VOLTage:RANGe")
    def voltage_range(self, argument: str) -> None:
        """Choose a voltage range."""
        self._set_range("V", argument, VOLTAGE_RANGES_V)

    @command("INPut:CURRent:RANGe")
    def current_range(self, argument: str) -> None:
        """Choose a current range."""
        self._set_range("A", argument, CURRENT_RANGES_A)

    @command("INPut:VOLTage:RANGe?")
    def voltage_range_now(self, argument: str) -> str:
        """Tell the voltage range."""
        return f"{self._range['V']:.2E}"

    @command("INPut:CURRent:RANGe?")
    def current_range_now(self, argument: str) -> str:
        """Tell the current range."""
        return f"{self._range['A']:.2E}"

    @command("INPut:VOLTage:AUTO")
    def voltage_auto(self, argument: str) -> None:
        """Choose automatic ranging."""
        self._is_auto["V"] = on_off(argument)

    @command("INPut:CURRent:AUTO")
    def current_auto(self, argument: str) -> None:
        """Choose automatic ranging."""
        self._is_auto["A"] = on_off(argument)

    @command("STATus:EESR?")
    def extended_events(self, argument: str) -> str:
        """Clear the register of events."""
        return "0"

    @command("COMMunicate:WAIT")
    def wait(self, argument: str) -> None:
        """Let time pass up to the next update."""
        past_s = self._now_s() - self._origin_s
        self.timebase.sleep((math.floor(past_s / self._period_s + 1e-6) + 1) * self._period_s - past_s)

    @command("STATus:ERRor?")
    def error(self, argument: str) -> str:
        """Return the oldest error."""
        return self.next_error(argument)

    @command("INTEGrate:RESet")
    def integration_reset(self, argument: str) -> None:
        """Set the counter to zero."""
        if self._state == "STAR":
            raise ScpiError(813, "Illegal operation")
        self._counted, self._stopped_j, self._state = None, 0.0, "RES"

    @command("INTEGrate:MODE")
    def integration_mode(self, argument: str) -> None:
        """Choose normal or continuous."""
        word(argument, "NORMal", "CONTinuous")

    @command("INTEGrate:TIMer")
    def integration_timer(self, argument: str) -> None:
        """Take hours, minutes, seconds."""
        if len([number(part, 0, 10000) for part in argument.split(",")]) != 3:
            raise ScpiError(-115, "Unexpected number of parameters")

    @command("INTEGrate:STARt")
    def integration_start(self, argument: str) -> None:
        """Begin to count."""
        if self._counted is not None:
            raise ScpiError(813, "Illegal operation")
        self._counted, self._state = (self._now_s(), self._stopped_j), "STAR"

    @command("INTEGrate:STOP")
    def integration_stop(self, argument: str) -> None:
        """Count no more."""
        if self._counted is not None:
            self._stopped_j, self._counted = self._energy_j(), None
            self._state = "STOP"

    @command("INTEGrate:STATe?")
    def integration_state(self, argument: str) -> str:
        """Tell whether it counts."""
        return self._state

    def break_off(self, state: str) -> None:
        """Let the integration end by itself: "TIM" for its timer, "ERR" for an error."""
        self.integration_stop("")
        self._state = state

    @command("NUMeric:NORMal:VALue?")
    def values(self, argument: str) -> str:
        """Tell U, I, P and WH of the last update."""
        end_s = self._updated_s()
        power_w = self._read_w(end_s - self._period_s, end_s)
        volts, current_a = self.load.supply_v, power_w / self.load.supply_v
        before = dict(self._range)
        self._range_automatically(volts, current_a)
        has_moved = self._range != before
        is_over = current_a > 1.3 * self._range["A"] or volts > 1.3 * self._range["V"]
        if self.faults.clip_w and power_w >= self.faults.clip_w:
            is_over = True
        if self._input != "dc" and abs(current_a) <= SUPPRESSED * self._range["A"]:
            power_w = current_a = 0.0
        watts = "INF" if is_over else "NAN" if has_moved else self._shown(power_w)
        amperes = "INF" if is_over else "NAN" if has_moved else f"{current_a:.6E}"
        hours = "NAN" if self._state == "RES" else f"{self._energy_j() / 3600.0:.9E}"
        return f"{volts:.4E},{amperes},{watts},{hours}"

    def _shown(self, power_w: float) -> str:
        """Print a power as a display of five digits shows it, of which the range of power fills all."""
        places = 4 - math.floor(math.log10(self._range["V"] * self._range["A"]))
        return f"{power_w:.{max(0, places)}f}E+00"

    def _settable(self) -> None:
        if self._state != "RES":
            raise ScpiError(813, "Illegal operation")

    def _set_range(self, unit: str, argument: str, known: tuple[float, ...]) -> None:
        self._settable()
        value = number(argument, 0.0, 1e4)
        if value not in known:
            raise ScpiError(-222, f"Data out of range; {argument}")
        self._range[unit] = value

    def _range_automatically(self, volts: float, current_a: float) -> None:
        if self._is_auto["V"]:
            self._range["V"] = _ranged(self._range["V"], volts, VOLTAGE_RANGES_V)
        if self._is_auto["A"]:
            self._range["A"] = _ranged(self._range["A"], current_a, CURRENT_RANGES_A)
        elif self._range["A"] <= JUMPS_UP_TO_A and current_a > 1.3 * self._range["A"]:
            self._range["A"] = 1.0

    def _now_s(self) -> float:
        return self.timebase.now_ns() / 1e9

    def _updated_s(self) -> float:
        past_s = self._now_s() - self._origin_s
        return self._origin_s + math.floor(past_s / self._period_s + 1e-6) * self._period_s

    def _read_w(self, start_s: float, end_s: float) -> float:
        true_w = self.load.waveform.energy_j(start_s, end_s) / (end_s - start_s)
        wrong_w = self.faults.distorted(true_w, end_s - self._origin_s)
        wrong_w += float(self._rng.normal(0.0, 1.0)) * self.faults.noise_w
        return wrong_w * (1.0 + self._gain_limit * self._gain) + self._offset_limit_w * self._offset

    @property
    def _gain_limit(self) -> float:
        return INPUTS[self._input][1]

    @property
    def _offset_limit_w(self) -> float:
        return INPUTS[self._input][2] * self._range["V"] * self._range["A"]

    def _energy_j(self) -> float:
        if self._counted is None:
            return self._stopped_j
        start_s, before_j = self._counted
        end_s = self._updated_s()
        return before_j + (self._read_w(start_s, end_s) * (end_s - start_s) if end_s > start_s else 0.0)


def _ranged(range_: float, value: float, known: tuple[float, ...]) -> float:
    """Return the next range: wider above 130 %, narrower at 30 % and less."""
    if value > 1.3 * range_:
        return next((one for one in known if value <= 1.3 * one), known[-1])
    if value <= 0.3 * range_:
        return next(one for one in known if value <= one or one == range_)
    return range_
