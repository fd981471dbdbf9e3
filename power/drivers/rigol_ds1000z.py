"""Rigol DS1000Z and MSO1000Z: 8 bits, 12 M points, read in batches of 250 000.

Sources: RIGOL PGA19109-1110, "MSO1000Z/DS1000Z Programming Guide": :ACQuire:MDEPth (depths by the number of channels that are
on), :WAVeform:DATA? (batches); limits of error from the series' data sheet: DC gain ±3 % of full scale (±4 % below 10 mV a
square), DC offset ±(0.1 squares + 2 mV + 1 % of the offset), time base ±25 ppm. Where memory and rate are shared by channels, the
figures are those for as many as are on. The 24 M option is not used.
"""

from __future__ import annotations

import re

from power.drivers.common.rigol import RigolScope
from power.drivers.common.scope import ChannelSetting
from power.specification import Specified

DEPTHS = (12_000, 120_000, 1_200_000, 12_000_000)
"""With one channel on; 2: half, 3 or 4: a quarter of it."""
SHARED = {1: 1, 2: 2, 3: 4, 4: 4}
MOST_RATE_HZ = 1e9
GAIN, GAIN_FINE, OF_OFFSET = 0.03, 0.04, 0.01


class RigolDs1000z(RigolScope):
    """A Rigol DS1000Z."""

    driver = "rigol-ds1000z"
    models = ("DS1054Z", "DS1074Z", "DS1104Z", "MSO1074Z", "MSO1104Z", "DS1102Z-E", "DS1202Z-E")
    model_pattern = re.compile(r"(?:DS|MSO)1[0-2]\d([24])Z", re.IGNORECASE)
    divisions = 12
    shortest_div_s, longest_div_s = 5e-9, 50.0
    batch_points = 250_000
    skew_command = "TCAL"
    clock_ppm = 25.0

    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the data sheet's limits."""
        return self._limits(channel, GAIN, GAIN_FINE, OF_OFFSET)

    def memory(self, on: int) -> tuple[tuple[int, ...], float]:
        """Return depths and highest rate."""
        return tuple(depth // SHARED[on] for depth in DEPTHS), MOST_RATE_HZ / SHARED[on]

    def _depth(self, points: int) -> str:
        return str(points)
