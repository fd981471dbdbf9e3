"""A Power Profiler Kit II at 100 kS/s for 60 s over a pseudo-terminal: processor time of this side, and what was lost.

The kit is simulated in another process and sends 400 kB/s in pieces of 5 ms. This side is what a session does: pyserial, the
driver with its calibration, filter and counter, the streamed meter, the trace on the host's clock, its energy. Its processor time
includes all of that, from `start` to the energy.
"""

from __future__ import annotations

from benchmarks import Row
from benchmarks._ppk2_device import POWER, SUPPLY_V
from benchmarks._streamed import device, record, rows
from power.drivers.nordic_ppk2 import RATE_HZ, NordicPpk2
from power.timebase import HOST_TIME

DURATION_S = 60.0
EDGE_S = 0.2


def run(duration_s: float = DURATION_S) -> list[Row]:
    """Measure; each row is a claim of docs/performance.md."""
    with device("_ppk2_device") as port:
        instrument = NordicPpk2(port, HOST_TIME, supply_v=SUPPLY_V, mode="source")
        found = record(instrument, POWER, RATE_HZ, duration_s, EDGE_S)
    return rows(f"PPK2, 100 kS/s for {duration_s:g} s", found, duration_s, 0.005)
