"""Does a meter agree with a known load? The normalised error of ISO/IEC 17043:2023 (B.4.1): E_n = difference ÷ √(U² + U²)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from power.calibrate.errors import ReadingUnusable
from power.calibrate.readings import Reading, check_usable, measure, u_with_accuracy_w
from power.meter import Meter
from power.timebase import HOST_TIME, Timebase
from power.uncertainty import COVERAGE


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison. `u_measured_w` and `u_known_w` are standard uncertainties; E_n is of the expanded ones, k = 2."""

    reading: Reading
    u_measured_w: float
    known_w: float
    u_known_w: float

    @property
    def difference_w(self) -> float:
        """What was read − what was known."""
        return self.reading.mean_w - self.known_w

    @property
    def e_n(self) -> float:
        """Normalised error, not negative."""
        return abs(self.difference_w) / (COVERAGE * math.hypot(self.u_measured_w, self.u_known_w))

    @property
    def passed(self) -> bool:
        """Whether the two agree within their uncertainties: E_n ≤ 1."""
        return self.e_n <= 1.0

    @property
    def text(self) -> str:
        """The verdict in one sentence."""
        numbers = (
            f"{self.reading.mean_w:.5g} W ± {COVERAGE * self.u_measured_w:.2g} W against "
            f"{self.known_w:.5g} W ± {COVERAGE * self.u_known_w:.2g} W, E_n = {self.e_n:.2f}"
        )
        if self.passed:
            return f"'{self.reading.name}' passes: {numbers}."
        return f"'{self.reading.name}' fails: {numbers}; check the load, the wiring and the zero, then calibrate it again."


def check(
    meter: Meter,
    known_w: float,
    u_w: float,
    duration_s: float = 10.0,
    *,
    settle_s: float = 0.0,
    timebase: Timebase = HOST_TIME,
) -> Check:
    """Read an open meter at a load of known power (`u_w` its standard uncertainty) and compare.

    Raises ReadingUnusable if nobody states how accurate the meter is, if the numbers cannot be, or for readings that cannot
    be judged.
    """
    if not math.isfinite(known_w) or not (math.isfinite(u_w) and u_w >= 0.0):
        raise ReadingUnusable(
            f"A load of {known_w!r} W with u = {u_w!r} W cannot be; give finite numbers, u from 0 on."
        )
    (reading,) = measure(meter, duration_s=duration_s, settle_s=settle_s, timebase=timebase)
    check_usable(reading)
    u_measured_w = u_with_accuracy_w(meter, reading)
    if u_measured_w is None:
        raise ReadingUnusable(
            f"The accuracy of '{meter.name}' is not known, so that nothing can be judged; calibrate it, or state "
            "accuracy = {gain = ..., offset_w = ...} in farm.toml."
        )
    if u_measured_w == 0.0 and u_w == 0.0:
        raise ReadingUnusable(
            "Neither the meter nor the load is uncertain by anything; give the uncertainty of the load."
        )
    return Check(reading, u_measured_w, known_w, u_w)
