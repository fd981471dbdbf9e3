"""Serves a simulated Power Profiler Kit II in a process of its own; prints its port, ends when its input is closed."""

from __future__ import annotations

import sys

from power.sim.common.load import Load
from power.sim.common.waveforms import Square
from power.sim.nordic_ppk2 import SimulatedNordicPpk2

POWER = Square(0.2, 0.6, 37.3, 0.6)
SUPPLY_V = 5.0

if __name__ == "__main__":
    with SimulatedNordicPpk2(Load(POWER, SUPPLY_V), push_s=0.005) as simulator:
        print(simulator.options["port"], flush=True)
        sys.stdin.read()
