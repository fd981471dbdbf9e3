"""Serves a simulated instrument that streams 1 MS/s, in a process of its own; prints its port, ends when its input is closed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

from power.sim.common.load import Load
from power.sim.common.waveforms import Square
from power.sim.rs_ngu import SimulatedRsNgu

RATE_HZ = 1e6
RATES = {RATE_HZ: "S1M"}
POWER = Square(2.0, 6.0, 37.3, 0.6)


class SimulatedStream(SimulatedRsNgu):
    """FastLog at twice the highest rate that R&S offer."""

    rates: ClassVar[Mapping[float, str]] = RATES


if __name__ == "__main__":
    with SimulatedStream(Load(POWER)) as simulator:
        print(simulator.options["resource"], flush=True)
        sys.stdin.read()
