"""A Power Profiler Kit II at 100 kS/s for 60 s over a pseudo-terminal: processor time of this side, and what was lost.

The kit is simulated in another process and sends 400 kB/s in pieces of 5 ms. This side is what a session does: pyserial, the
driver with its calibration, filter and counter, the streamed meter, the trace on the host's clock, its energy. Its processor time
includes all of that, from `start` to the energy.
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import Row
from benchmarks._ppk2_device import POWER, SUPPLY_V
from power.drivers.nordic_ppk2 import RATE_HZ, NordicPpk2
from power.meters.streamed import StreamedMeter
from power.reduction.energy import energy
from power.timebase import HOST_TIME
from power.trace import Window

DURATION_S = 60.0
EDGE_S = 0.2


def stream(port: str, duration_s: float) -> tuple[float, int, float]:
    """Record for some time; return processor time used, samples that are missing, and the energy's relative error."""
    instrument = NordicPpk2(port, HOST_TIME, supply_v=SUPPLY_V, mode="source")
    with StreamedMeter("ppk2", instrument, is_simulated=True) as meter:
        begin_cpu_s = time.process_time()
        meter.start()
        begin_s = time.monotonic()
        time.sleep(duration_s)
        end_s = time.monotonic()
        time.sleep(meter.tail_s)
        trace = meter.stop()
        window = Window(begin_s + EDGE_S, end_s - EDGE_S)
        found = energy(trace, window)
        cpu_s = time.process_time() - begin_cpu_s
    true_j = POWER.energy_j(window.start_s, window.end_s)
    missing = trace.lost + max(0, round(duration_s * RATE_HZ) - len(trace))
    return cpu_s, missing, abs(found.energy_j / true_j - 1.0)


def run(duration_s: float = DURATION_S) -> list[Row]:
    """Measure; each row is a claim of docs/performance.md."""
    command = [sys.executable, "-m", "benchmarks._ppk2_device"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as device:
        assert device.stdin is not None
        assert device.stdout is not None
        try:
            cpu_s, missing, error = stream(device.stdout.readline().strip(), duration_s)
        finally:
            device.stdin.close()
    what = f"PPK2, 100 kS/s for {duration_s:g} s"
    return [
        Row(f"{what}: processor time ÷ time", cpu_s, "s", duration_s, 0.3, "at most"),
        Row(f"{what}: samples lost", float(missing), "samples", None, 0.0, "at most"),
        Row(f"{what}: error of the energy", 100.0 * error, "%", None, 0.5, "at most"),
    ]


if __name__ == "__main__":
    from benchmarks.__main__ import line

    for row in run(float(sys.argv[1]) if len(sys.argv) > 1 else DURATION_S):
        print(line(row, markdown=False))
