"""Rigol MSO5000: 8 bits, 100 M points with one channel on.

Sources: RIGOL PGA25104-1110, "MSO5000 Programming Guide": :ACQuire:MDEPth, :WAVeform; limits of error from the series' data
sheet: DC gain ±3 % of full scale, DC offset ±(0.1 squares + 2 mV + 1.5 % of the offset), time base ±10 ppm (as the performance
verification guide of the MSO5000-E allows in the first year). The guide names no limit for one :WAVeform:DATA?; batches are of
1 M points. The 200 M option is not used.
"""

from __future__ import annotations

import re

from power.drivers.common.rigol import RigolScope
from power.drivers.common.scope import ChannelSetting
from power.specification import Specified

DEPTHS = {
    1_000: "1k",
    10_000: "10k",
    100_000: "100k",
    1_000_000: "1M",
    10_000_000: "10M",
    25_000_000: "25M",
    50_000_000: "50M",
    100_000_000: "100M",
}
MOST_POINTS = {1: 100_000_000, 2: 50_000_000, 3: 25_000_000, 4: 25_000_000}
"""By the number of channels that are on."""
MOST_RATE_HZ = {1: 8e9, 2: 4e9, 3: 2e9, 4: 2e9}
GAIN, OF_OFFSET = 0.03, 0.015


class RigolMso5000(RigolScope):
    """A Rigol MSO5000."""

    driver = "rigol-mso5000"
    models = ("MSO5072", "MSO5074", "MSO5102", "MSO5104", "MSO5152-E", "MSO5204", "MSO5354")
    model_pattern = re.compile(r"MSO5[0-3]\d([24])", re.IGNORECASE)
    divisions = 10
    shortest_div_s, longest_div_s = 1e-9, 1000.0
    batch_points = 1_000_000
    skew_command = "TCALibrate"
    clock_ppm = 10.0

    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the data sheet's limits."""
        return self._limits(channel, GAIN, GAIN, OF_OFFSET)

    def memory(self, on: int) -> tuple[tuple[int, ...], float]:
        """Return depths and highest rate."""
        return tuple(depth for depth in DEPTHS if depth <= MOST_POINTS[on]), MOST_RATE_HZ[on]

    def _depth(self, points: int) -> str:
        return DEPTHS[points]
