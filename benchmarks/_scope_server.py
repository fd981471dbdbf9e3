"""A simulated MDO4054B in a process of its own: prints its address, ends with stdin."""

from __future__ import annotations

import sys

from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.tektronix_mdo4000 import SimulatedMdo4000


def main() -> None:
    """Serve until nobody holds the other end of stdin."""
    with SimulatedMdo4000(Load(Constant(4.0)), seed=1) as simulator:
        print(simulator.options["resource"], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
