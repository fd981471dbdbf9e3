"""Energy of a long trace: samples a second and memory, against numpy's own trapezoid on a piece of the same trace.

The trace comes in pieces of a million samples, as an instrument delivers it. Pieces are made (and checked) anew each time;
making the raw numbers is not counted, checking that they are a trace is.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import numpy as np

from benchmarks import Row
from power.reduction.energy import energies
from power.trace import Floats, Trace, Window

PIECE = 1_000_000
SAMPLES = 1_000_000_000
STEP_S = 1e-6
_MIB = 1 << 20


class _Stream:
    """A trace of any length in pieces, and the time that was spent on anything but making their numbers."""

    def __init__(self, samples: int) -> None:
        self.pieces = samples // PIECE
        self.own_s = 0.0
        rng = np.random.default_rng(1)
        self._power_w = 5.0 + rng.normal(0.0, 0.5, PIECE)
        self._elapsed_s = np.arange(PIECE, dtype=np.float64) * STEP_S

    def __iter__(self) -> Iterator[Trace]:
        begin_s = time.perf_counter()
        for index in range(self.pieces):
            self.own_s += time.perf_counter() - begin_s
            t_s = self._elapsed_s + index * PIECE * STEP_S
            begin_s = time.perf_counter()
            yield Trace(t_s, power_w=self._power_w, interval_s=STEP_S)
        self.own_s += time.perf_counter() - begin_s

    @property
    def piece(self) -> tuple[Floats, Floats]:
        """Times and powers of the first piece."""
        return self._elapsed_s, self._power_w


def reduce(samples: int) -> tuple[float, int]:
    """Reduce a run with idle before and after; return samples/s and by how many bytes resident memory peaked higher."""
    stream = _Stream(samples)
    length_s = samples * STEP_S
    marks = (0.05, 0.25, 0.30, 0.70, 0.75, 0.95)
    windows = [Window(a * length_s, b * length_s) for a, b in zip(marks[::2], marks[1::2], strict=True)]
    for found in energies(_Stream(2 * PIECE), [Window(0.1, 1.9)]):  # what is allocated once is not growth
        assert found.energy_j > 0
    before_bytes = _peak_bytes()
    found_all = energies(stream, windows)
    for found in found_all:
        assert abs(found.mean_w - 5.0) < 0.01
    return samples / stream.own_s, _peak_bytes() - before_bytes


def trapezoid(repeats: int = 5) -> float:
    """Return samples/s of numpy.trapezoid on one piece: energy of one window without edges, checks, gaps or noise."""
    t_s, power_w = _Stream(PIECE).piece
    best_s = float("inf")
    for _ in range(repeats):
        begin_s = time.perf_counter()
        np.trapezoid(power_w, t_s)
        best_s = min(best_s, time.perf_counter() - begin_s)
    return PIECE / best_s


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def run() -> list[Row]:
    """Measure; each row is a claim of docs/performance.md."""
    reduce(2 * PIECE)  # the processor's clock and the allocator settle
    baseline = trapezoid()
    speed, growth_bytes = reduce(SAMPLES)
    return [
        Row("energy of 1e9 samples", speed / 1e6, "M samples/s", None, 50.0, "at least"),
        Row(
            "energy of 1e9 samples vs numpy.trapezoid",
            speed / 1e6,
            "M samples/s",
            baseline / 1e6,
            0.5,
            "at least",
        ),
        Row("memory growth over 1e9 samples", growth_bytes / _MIB, "MiB", None, 32.0, "at most"),
        Row("peak resident memory, 1e9 samples", _peak_bytes() / _MIB, "MiB", None, 256.0, "at most"),
    ]
