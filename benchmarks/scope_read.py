"""A full record of a simulated MDO4054B, 20 million points of 2 channels: read and scaled to volts, against pyvisa's own reader.

The simulated scope is another process on the loopback, and what it sends is computed before the clock starts. Both readers ask
the same CURVe? and scale what comes to doubles by the same preamble. pyvisa's `query_binary_values` does not get faster with the
length, so it is given a shorter curve (BASELINE_POINTS) and rates are compared: as it comes, it makes a list of numbers; with
container=numpy.array it makes an array, and reads 4 kB at a time and up to each byte that is a newline.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyvisa

from benchmarks import Row
from power.catalogue import make_meter
from power.drivers.common.probing import Probing
from power.drivers.common.scope import Record
from power.drivers.tektronix_mdo4000 import Mdo4000
from power.options import Options
from power.timebase import HOST_TIME

POINTS = 20_000_000
BASELINE_POINTS = 2_000_000
BYTES_A_POINT = 2
RATE_HZ = 1e9
WIRED = {"voltage": {"channel": 1, "range_v": 16.0}, "current": {"channel": 2, "shunt_ohm": 0.01}}
TRUE_V = {1: 5.008, 2: 0.008}
"""4 W at 5 V are 0.8 A, 8 mV at 10 mΩ, which the supply's side of the shunt is higher by."""
_MIB = 1 << 20


@contextmanager
def served() -> Iterator[str]:
    """Run the simulated scope; yield its VISA address."""
    command = [sys.executable, "-m", "benchmarks._scope_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.communicate()


def read(address: str, repeats: int = 3) -> float:
    """Return bytes/s of two channels read and scaled by the driver."""
    scope = Mdo4000(address, HOST_TIME)
    scope.connect()
    probes = Probing.from_options(Options(WIRED, "'benchmark'")).channels
    made = scope.set_up(probes, Record(POINTS, 1.0 / RATE_HZ, "hires"))
    assert made.points == POINTS
    scope.arm()
    scope.trigger()
    while not scope.is_done():
        time.sleep(0.01)
    best_s = float("inf")
    for repeat in range(repeats + 1):  # the first one is when the simulator computes
        begin_s = time.perf_counter()
        for probe in probes:
            waveform = scope.read(probe.number)
            assert len(waveform.values) == POINTS
            if repeat == 0:
                assert abs(waveform.values.mean() - TRUE_V[probe.number]) < 0.03 * probe.range_v
        if repeat > 0:
            best_s = min(best_s, time.perf_counter() - begin_s)
    scope.make_safe()
    scope.disconnect()
    return 2 * POINTS * BYTES_A_POINT / best_s


def query_binary_values(address: str, *, as_array: bool, repeats: int = 3) -> float:
    """Return bytes/s of pyvisa's reader, of the record that is there already."""
    manager = pyvisa.ResourceManager()
    line: Any = manager.open_resource(address, read_termination="\n", write_termination="\n", timeout=120e3)
    for command in ("HEADer 0", "DATa:SOUrce CH1", "DATa:STARt 1", f"DATa:STOP {BASELINE_POINTS}"):
        line.write(command)
    gain = float(line.query("WFMOutpre?").split(";")[14])
    container = {"container": np.array} if as_array else {}
    best_s = float("inf")
    for repeat in range(repeats + 1):
        begin_s = time.perf_counter()
        volts = np.asarray(line.query_binary_values("CURVe?", datatype="h", **container)) * gain
        if repeat > 0:
            best_s = min(best_s, time.perf_counter() - begin_s)
        assert len(volts) == BASELINE_POINTS
    line.close()
    manager.close()
    return BASELINE_POINTS * BYTES_A_POINT / best_s


def memory(address: str) -> int:
    """Return by how many bytes resident memory peaks higher while a full record is made a trace of power."""
    options = {"resource": address, **WIRED, "rate_hz": 0.9 * RATE_HZ}
    with make_meter("benchmark", "tektronix-mdo4000", options) as meter:
        meter.plan(0.019)
        meter.start()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trace = meter.stop()
        assert len(trace) == POINTS
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024  # Linux counts in KiB


def run() -> list[Row]:
    """Measure; each row is a claim of docs/performance.md."""
    with served() as address:
        growth_bytes = memory(address)
        speed = read(address)
        baseline = query_binary_values(address, as_array=False)
        array_baseline = query_binary_values(address, as_array=True)
    return [
        Row("scope, 2 × 20 M points read and scaled", speed / 1e6, "MB/s", None, 50.0, "at least"),
        Row(
            "scope, read and scaled vs query_binary_values (a list)",
            speed / 1e6,
            "MB/s",
            baseline / 1e6,
            10.0,
            "at least",
        ),
        Row(
            "scope, read and scaled vs query_binary_values (container=numpy.array)",
            speed / 1e6,
            "MB/s",
            array_baseline / 1e6,
            2.0,
            "at least",
        ),
        Row("memory of a trace of 2 × 20 M points", growth_bytes / _MIB, "MiB", None, 1024.0, "at most"),
    ]
