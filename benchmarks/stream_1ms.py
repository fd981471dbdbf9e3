"""A stream of 1 MS/s, voltage and current, for 60 s: processor time of this side, and what was lost.

The instrument is simulated in another process and speaks the protocol of an R&S NGU's FastLog (blocks of float32 pairs, 8 MB/s
over TCP). This side is what a session does: pyvisa, the driver, the streamed meter, the trace on the host's clock, its energy.
Its processor time includes all of that, from `start` to the energy.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import ClassVar

from benchmarks import Row
from benchmarks._stream_server import POWER, RATE_HZ, RATES
from power.drivers.rs_ngu import PIECE_S, RsNgu
from power.meters.streamed import StreamedMeter
from power.reduction.energy import energy
from power.timebase import HOST_TIME
from power.trace import Window

DURATION_S = 60.0
_GIB = 1 << 30


class _Stream(RsNgu):
    rates: ClassVar[Mapping[float, str]] = RATES


def stream(resource_name: str, duration_s: float) -> tuple[float, int, float]:
    """Record for some time; return processor time used, samples that are missing, and the energy's relative error."""
    instrument = _Stream(resource_name, HOST_TIME, current_range_a=3.0, rate_hz=RATE_HZ)
    with StreamedMeter("stream", instrument, is_simulated=True) as meter:
        meter.plan(duration_s)
        begin_cpu_s = time.process_time()
        meter.start()
        begin_s = time.monotonic()
        time.sleep(duration_s)
        end_s = time.monotonic()
        time.sleep(meter.tail_s)
        trace = meter.stop()
        window = Window(begin_s + PIECE_S, end_s - PIECE_S)
        found = energy(trace, window)
        cpu_s = time.process_time() - begin_cpu_s
    true_j = POWER.energy_j(window.start_s, window.end_s)
    missing = trace.lost + max(0, round(duration_s * RATE_HZ) - len(trace))
    return cpu_s, missing, abs(found.energy_j / true_j - 1.0)


def run(duration_s: float = DURATION_S) -> list[Row]:
    """Measure; each row is a claim of docs/performance.md."""
    command = [sys.executable, "-m", "benchmarks._stream_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            cpu_s, missing, error = stream(server.stdout.readline().strip(), duration_s)
        finally:
            server.stdin.close()
    what = f"1 MS/s for {duration_s:g} s"
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB  # Linux counts in KiB
    return [
        Row(f"{what}: processor time of one core", 100.0 * cpu_s / duration_s, "%", None, 30.0, "at most"),
        Row(f"{what}: samples lost", float(missing), "samples", None, 0.0, "at most"),
        Row(f"{what}: error of the energy", 100.0 * error, "%", None, 0.1, "at most"),
        Row(f"{what}: peak resident memory", peak_gib, "GiB", None, 6.0, "at most"),
    ]


if __name__ == "__main__":
    from benchmarks.__main__ import line

    for row in run(float(sys.argv[1]) if len(sys.argv) > 1 else DURATION_S):
        print(line(row, markdown=False))
