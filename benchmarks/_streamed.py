"""What the benchmarks of streams share: a device in another process, a recording as a session makes it, its true energy."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import Row
from power.drivers.common.base import StreamedInstrument
from power.meters.streamed import StreamedMeter
from power.reduction.energy import energy
from power.sim.common.waveforms import Waveform
from power.trace import Window


@dataclass(frozen=True)
class Streamed:
    """One recording: processor time from `start` to the energy, samples missing, relative error of the energy."""

    cpu_s: float
    missing: int
    error: float


def rows(what: str, found: Streamed, duration_s: float, most_error: float) -> list[Row]:
    """Return what every stream is held to: 30 % of a core, nothing lost, and the energy."""
    return [
        Row(
            f"{what}: processor time of one core",
            100.0 * found.cpu_s / duration_s,
            "%",
            None,
            30.0,
            "at most",
        ),
        Row(f"{what}: samples lost", float(found.missing), "samples", None, 0.0, "at most"),
        Row(f"{what}: error of the energy", 100.0 * found.error, "%", None, 100.0 * most_error, "at most"),
    ]


@contextmanager
def device(module: str) -> Iterator[str]:
    """Run a simulated device, a module of this folder, in a process of its own; yield the address that it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def record(
    instrument: StreamedInstrument, truth: Waveform, rate_hz: float, duration_s: float, edge_s: float
) -> Streamed:
    """Record for some time and integrate all but `edge_s` at both ends."""
    with StreamedMeter("stream", instrument, is_simulated=True) as meter:
        meter.plan(duration_s)
        begin_cpu_s = time.process_time()
        meter.start()
        begin_s = time.monotonic()
        time.sleep(duration_s)
        end_s = time.monotonic()
        time.sleep(meter.tail_s)
        trace = meter.stop()
        window = Window(begin_s + edge_s, end_s - edge_s)
        found = energy(trace, window)
        cpu_s = time.process_time() - begin_cpu_s
    true_j = truth.energy_j(window.start_s, window.end_s)
    missing = trace.lost + max(0, round(duration_s * rate_hz) - len(trace))
    return Streamed(cpu_s, missing, abs(found.energy_j / true_j - 1.0))
