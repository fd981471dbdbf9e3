"""What a meter recorded, and the windows it is cut into. Times are seconds on the host's monotonic clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from power.errors import TraceInvalid, WindowInvalid

Reading = Literal["instantaneous", "average", "counter"]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

GAP_INTERVALS = 3.0
"""Samples further apart than this many nominal intervals leave a gap."""
BLOCK = 1 << 13
"""Samples handled at a time: every temporary stays in the processor's cache, and BLAS, which shares out dot products of more
than 10,000 numbers, stays on one core."""


@dataclass(frozen=True, slots=True)
class Window:
    """The span [start_s, end_s] on the host's clock. Raises WindowInvalid unless it is finite and has a length."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start_s) and np.isfinite(self.end_s) and self.start_s < self.end_s):
            raise WindowInvalid(
                f"A window must end after it starts, but this one runs from {self.start_s!r} s to {self.end_s!r} s."
            )

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.end_s - self.start_s

    @property
    def middle_s(self) -> float:
        """Middle."""
        return 0.5 * (self.start_s + self.end_s)


@dataclass(frozen=True, eq=False)
class Trace:
    """The samples of one meter.

    t_s          [n] times, strictly increasing
    power_w      [n] powers; None for a counter, which measures none
    energy_j     [n] energy counted since any origin, never decreasing; None unless a counter
    voltage_v, current_a   [n] where the meter measures them, else None
    reading      "instantaneous"; "average": value i is the mean over [t_i − averaging_s, t_i]; or "counter"
    interval_s   nominal time between samples; None if there is none, and then no gap can be told
    averaging_s  averaging time of an "average" meter (absent: interval_s); None for the others
    update_s     time between renewals of a counter; None if unknown, and for the others
    step_j       smallest step of a counter, where it is no longer negligible; None if it is, and for the others
    clipped      [n] true where the meter was at its limit, None if it cannot tell
    marker       [n] level of a spare channel that the board's GPIO drives, None if there is none
    clock_bound_s  largest error of all times together against the clock they are on: how well the start of an instrument's own
                 record is known
    lost         number of readings that failed or never came
    calibration  the certificate applied, None if there is none

    Raises TraceInvalid if there is no sample, lengths differ, times do not increase or a value is not finite.
    """

    t_s: Floats
    power_w: Floats | None = None
    energy_j: Floats | None = None
    voltage_v: Floats | None = None
    current_a: Floats | None = None
    reading: Reading = "instantaneous"
    interval_s: float | None = None
    averaging_s: float | None = None
    update_s: float | None = None
    step_j: float | None = None
    clipped: Flags | None = None
    marker: Flags | None = None
    clock_bound_s: float = 0.0
    lost: int = 0
    calibration: str | None = None

    def __post_init__(self) -> None:
        for name in ("t_s", "power_w", "energy_j", "voltage_v", "current_a"):
            column = getattr(self, name)
            if column is not None:
                object.__setattr__(self, name, np.ascontiguousarray(column, dtype=np.float64))
        self._check_kind()
        self._check_lengths()
        self._check_values()

    def __len__(self) -> int:
        return len(self.t_s)

    @property
    def span(self) -> Window:
        """From the first sample to the last. Raises WindowInvalid if there is only one."""
        return Window(float(self.t_s[0]), float(self.t_s[-1]))

    @property
    def values(self) -> Floats:
        """What was read: energy of a counter, else power."""
        column = self.energy_j if self.reading == "counter" else self.power_w
        if column is None:
            raise TraceInvalid(f"A trace with reading '{self.reading}' lacks its values.")
        return column

    @property
    def clipped_count(self) -> int | None:
        """Number of samples at the meter's limit, None if it cannot tell."""
        return None if self.clipped is None else int(np.count_nonzero(self.clipped))

    def gaps(self) -> list[Window]:
        """List the spans without samples: more than three nominal intervals. Empty if there is no nominal interval."""
        if self.interval_s is None:
            return []
        limit_s = GAP_INTERVALS * self.interval_s
        found = []
        for t_s in blocks(self.t_s):
            for i in np.flatnonzero(np.diff(t_s) > limit_s):
                found.append(Window(float(t_s[i]), float(t_s[i + 1])))
        return found

    def _check_kind(self) -> None:
        if self.reading not in get_args(Reading):
            raise TraceInvalid(
                f"A trace's reading is one of {', '.join(get_args(Reading))}, not '{self.reading}'."
            )
        counter = self.reading == "counter"
        if counter != (self.power_w is None) or counter == (self.energy_j is None):
            raise TraceInvalid("A counter trace has energy_j and no power_w; every other one the reverse.")
        for name in ("interval_s", "averaging_s", "update_s", "step_j"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise TraceInvalid(f"A trace's {name} must be positive, not {value!r}.")
        if not (np.isfinite(self.clock_bound_s) and self.clock_bound_s >= 0.0):
            raise TraceInvalid(f"A trace's clock_bound_s must not be negative, as {self.clock_bound_s!r} is.")
        if self.reading == "average" and self.interval_s is None and self.averaging_s is None:
            raise TraceInvalid("A trace of averages must say over what time they are: give averaging_s.")

    def _check_lengths(self) -> None:
        if self.t_s.ndim != 1 or len(self.t_s) == 0:
            raise TraceInvalid("A trace needs at least one sample; the meter yielded none.")
        for name in ("power_w", "energy_j", "voltage_v", "current_a", "clipped", "marker"):
            column = getattr(self, name)
            if column is not None and column.shape != self.t_s.shape:
                raise TraceInvalid(f"A trace's {name} has {column.size} values for {self.t_s.size} times.")

    def _check_values(self) -> None:
        if not bool(np.isfinite(self.t_s[0])):
            raise TraceInvalid("A trace's first time is not finite.")
        for t_s in blocks(self.t_s):
            # Written so that a NaN fails too; an infinite last time is the only thing left to look for.
            if not bool(np.all(t_s[1:] > t_s[:-1])):
                raise TraceInvalid("A trace's times must strictly increase.")
        for name in ("t_s", "power_w", "energy_j", "voltage_v", "current_a"):
            column = getattr(self, name)
            for part in blocks(column) if column is not None else ():
                if not bool(np.isfinite(part).all()):
                    raise TraceInvalid(
                        f"A trace's {name} holds a value that is not finite; leave such samples out."
                    )
        for part in blocks(self.energy_j) if self.energy_j is not None else ():
            if not bool(np.all(part[1:] >= part[:-1])):
                raise TraceInvalid("A counter went back; undo its wrap-around before making a trace of it.")


def blocks(column: Floats) -> Iterator[Floats]:
    """Yield views of at most BLOCK + 1 values, each beginning with the last value of the one before."""
    last = len(column) - 1
    for begin in range(0, max(last, 1), BLOCK):
        yield column[begin : begin + BLOCK + 1]


def median_step(column: Floats) -> float:
    """Return the median difference of neighbours; of a long column that of at most BLOCK pieces of it, without a copy.

    Raises IndexError for fewer than two values.
    """
    stride = max(1, (len(column) - 1) // (BLOCK * 16))
    return float(np.median(column[1::stride] - column[:-1:stride]))


def chunks(trace: Trace, size: int) -> Iterator[Trace]:
    """Yield the trace in pieces of at most `size` samples, without copying. Raises TraceInvalid if size < 1."""
    if size < 1:
        raise TraceInvalid(f"A chunk needs at least one sample, not {size}.")
    for begin in range(0, len(trace), size):
        yield _piece(trace, slice(begin, begin + size))


def _piece(trace: Trace, part: slice) -> Trace:
    # The whole was checked when it was made, so its pieces need not be.
    piece = object.__new__(Trace)
    for name in Trace.__dataclass_fields__:
        value = getattr(trace, name)
        object.__setattr__(piece, name, value[part] if isinstance(value, np.ndarray) else value)
    return piece


def total(traces: list[Trace]) -> Trace:
    """Add traces of rails that are parts of one whole, on the time base of the first, as far as all of them reach.

    Powers and counters in between two samples are interpolated. Samples that fall in a gap of any trace are left out,
    so that the gap shows in the sum. Raises TraceInvalid if readings differ or there is no overlap.
    """
    if not traces:
        raise TraceInvalid("There is no trace to add up.")
    first, *others = traces
    if any(other.reading != first.reading for other in others):
        raise TraceInvalid("Rails that read in different ways cannot be added; measure them one by one.")
    if not others:
        return first
    begin_s, end_s = max(t.t_s[0] for t in traces), min(t.t_s[-1] for t in traces)
    if begin_s > end_s:
        raise TraceInvalid("The rails were not sampled at the same time, so they cannot be added.")
    # The ends belong to it even where the first rail has no sample there: rails are read one after the other.
    t_s = np.union1d(first.t_s[(first.t_s >= begin_s) & (first.t_s <= end_s)], [begin_s, end_s])
    keep = np.ones(len(t_s), dtype=np.bool_)
    for other in others:
        for gap in other.gaps():
            keep &= (t_s <= gap.start_s) | (t_s >= gap.end_s)
    t_s = t_s[keep]
    summed = np.sum([np.interp(t_s, trace.t_s, trace.values) for trace in traces], axis=0)
    clipped = [np.interp(t_s, t.t_s, t.clipped) > 0 for t in traces if t.clipped is not None]
    known = [t.interval_s for t in traces if t.interval_s is not None]
    averaging = [t.averaging_s for t in traces if t.averaging_s is not None]
    updates = [t.update_s for t in traces if t.update_s is not None]
    steps = [t.step_j for t in traces if t.step_j is not None]
    return Trace(
        t_s,
        power_w=None if first.reading == "counter" else summed,
        energy_j=summed if first.reading == "counter" else None,
        reading=first.reading,
        interval_s=max(known) if known else None,
        averaging_s=max(averaging) if averaging else None,
        update_s=max(updates) if updates else None,
        step_j=math.hypot(*steps) if steps else None,
        clipped=np.any(clipped, axis=0) if clipped else None,
        clock_bound_s=max(trace.clock_bound_s for trace in traces),
        lost=sum(trace.lost for trace in traces),
    )
