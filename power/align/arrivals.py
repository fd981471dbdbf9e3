"""When the samples of an instrument that paces itself were taken, from when they arrived at the host.

Sample k is taken at t0 + k × interval and arrives some time later, never earlier: t0 + k × interval ≤ arrival(k) for every
k. The interval is known within the crystal's tolerance, t0 between the command that starts the instrument and the first
sight of a sample. All (t0, interval) that satisfy this form a polygon; sample times are the middle of what it allows, and
the bound is half of what it allows at the worst sample. The idea is that of the lower envelope of one-way delays: S. B. Moon,
P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay measurements", INFOCOM 1999.

Over minutes a crystal's tolerance alone would be milliseconds. Therefore the shortest delay is taken to be the same early
and late in the record, as far as the record itself shows it to be (`_rate_range`); without enough arrivals it is not.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from power.errors import ClockError

PARTS = 10
"""The record is cut into so many parts, whose shortest delays are compared."""
LEAST_PER_PART = 8
_STEPS = 64
"""Of a golden-section search: leaves 10⁻¹³ of the range."""
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleClock:
    """Sample k was taken at t0_s + k × interval_s on the host's clock; no sample's time is further off than bound_s."""

    t0_s: float
    interval_s: float
    bound_s: float

    def times_s(self, index: Integers) -> Floats:
        """Return the times of samples."""
        return self.t0_s + np.asarray(index, np.float64) * self.interval_s


def fit_arrivals(
    index: Integers, arrival_s: Floats, interval_s: float, ppm: float, start: tuple[float, float]
) -> SampleClock:
    """Return when samples were taken.

    index       [n] which sample arrived, counted from 0, lost ones included; of a block its last one
    arrival_s   [n] when, on the host's clock
    interval_s  nominal time between samples
    ppm         how far the instrument's interval may be off
    start       earliest and latest host time at which sample 0 can have been taken

    Raises ClockError if there is no arrival, or samples came before they can have been taken.
    """
    earliest_s, latest_s = start
    if not (0.0 <= ppm < 1e5 and interval_s > 0.0 and earliest_s <= latest_s):
        raise ClockError(
            f"Samples each {interval_s!r} s ± {ppm!r} ppm, the first between {earliest_s!r} s and {latest_s!r} s, "
            "are no description of an instrument; mend its driver."
        )
    if len(index) == 0 or len(index) != len(arrival_s):
        raise ClockError("No arrival of any sample was noted, so their times are unknown.")
    # Far from zero a double resolves microseconds only: everything is counted from the earliest start.
    since_s = np.asarray(arrival_s, np.float64) - earliest_s
    count = np.asarray(index, np.float64)
    found = _Record(count, since_s, latest_s - earliest_s)
    widest = interval_s * (1.0 - ppm * 1e-6), interval_s * (1.0 + ppm * 1e-6)
    if not found.allows(widest[0]):
        early_s = float(np.max(count * widest[0] - since_s))
        raise ClockError(
            f"Samples arrived {early_s:.3g} s before they can have been taken; the instrument does not sample each "
            f"{interval_s:g} s, or some were counted twice."
        )
    narrow = _rate_range(found, *widest)
    low, high = narrow if narrow is not None and found.allows(narrow[0]) else widest
    t0_s, interval, bound_s = found.middle(low, high)
    return SampleClock(earliest_s + t0_s, interval, bound_s)


@dataclass(frozen=True, slots=True)
class _Record:
    """Arrivals, s since the earliest start; `latest_s` is the latest start."""

    count: Floats
    since_s: Floats
    latest_s: float

    def allows(self, interval_s: float) -> bool:
        """Whether an interval of this length, begun at the earliest, explains every arrival."""
        slack_s = 1e-9 * max(1.0, float(self.since_s[-1]))
        return bool(np.all(self.count * interval_s <= self.since_s + slack_s))

    def envelope_s(self, interval_s: float) -> float:
        """Return the latest t0 with which no sample arrives before it is taken."""
        return float(np.min(self.since_s - self.count * interval_s))

    def middle(self, low: float, high: float) -> tuple[float, float, float]:
        """Return t0, interval and bound: halfway between the earliest and the latest that the first and last may be."""
        last = float(np.max(self.count))
        t0_latest_s = min(self.latest_s, max(0.0, self.envelope_s(low)))
        if last == 0.0:
            return t0_latest_s / 2.0, 0.5 * (low + high), t0_latest_s / 2.0
        after = self.count > 0.0
        # The slowest interval that still explains all arrivals lets the last sample be latest.
        slowest = min(high, float(np.min(self.since_s[after] / self.count[after])))
        slowest = max(low, slowest)
        end_latest_s = last * slowest + max(0.0, min(self.latest_s, self.envelope_s(slowest)))
        end_earliest_s = last * low
        t0_s, end_s = t0_latest_s / 2.0, (end_earliest_s + end_latest_s) / 2.0
        return t0_s, (end_s - t0_s) / last, max(t0_latest_s, end_latest_s - end_earliest_s) / 2.0


def _rate_range(record: _Record, low: float, high: float) -> tuple[float, float] | None:
    """Narrow the interval by the lower envelope of the arrivals; None if there are too few of them.

    The line below all arrivals that comes closest to them misses the parts' shortest delays by b at most. If true shortest
    delays differ by no more than b either, its slope is off by no more than 2 b over the distance of the outer parts.
    """
    count = record.count
    if len(count) < PARTS * LEAST_PER_PART or count[-1] <= count[0]:
        return None
    interval = _closest_slope(record, low, high)
    above_s = record.since_s - count * interval
    above_s -= above_s.min()
    edges = np.linspace(0, len(count), PARTS + 1).astype(int)
    lowest = [begin + int(np.argmin(above_s[begin:end])) for begin, end in itertools.pairwise(edges)]
    misfit_s = float(np.max(above_s[lowest]))
    reach = float(count[lowest[-1]] - count[lowest[0]])
    if reach <= 0.0:
        return None
    margin = 2.0 * misfit_s / reach
    return max(low, interval - margin), min(high, interval + margin)


def _closest_slope(record: _Record, low: float, high: float) -> float:
    """Return the slope of the line below all arrivals whose mean distance to them is least: a concave maximum."""
    middle = float(record.count.mean())

    def height(interval: float) -> float:
        return record.envelope_s(interval) + middle * interval

    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = height(left), height(right)
    for _ in range(_STEPS):
        if at_left < at_right:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = height(right)
        else:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = height(left)
        if high - low <= 1e-14 * high:
            break
    return 0.5 * (low + high)
