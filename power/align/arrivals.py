"""When the samples of an instrument that paces itself were taken, from when they arrived at the host.

Sample k is taken at t0 + k × interval and arrives some time later, never earlier: t0 + k × interval ≤ arrival(k) for every
k. The interval is known within the crystal's tolerance, t0 between the command that starts the instrument and the first
sight of a sample. All (t0, interval) that satisfy this form a polygon; sample times are the middle of what it allows, and
the bound is half of what it allows at the worst sample. The idea is that of the lower envelope of one-way delays: S. B. Moon,
P. Skelly, D. Towsley, "Estimation and removal of clock skew from network delay measurements", INFOCOM 1999.

Arrivals alone cannot tell a clock that runs slow from delays that grow: a host that asks in step with the instrument's own
pieces finds samples of slowly changing age, at worst as old as its questions are apart. Therefore the shortest delay is taken
to be steady only to the time between arrivals (`_rate_range`), and over minutes the crystal's tolerance is narrowed only where
arrivals are frequent, about (1 s / 10⁻⁴ = 10 000 in a record at ±100 ppm). Of a drift of the shortest delay by more than that,
as evenly as a clock would drift, nothing can be known and the bound does not speak.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from power.errors import ClockError

PARTS = 10
"""The record is cut into so many parts, whose shortest delays are compared."""
RANK = 32
"""How far a part's shortest delay lies below so many more is how far it may lie above what it would have been at best."""
LEAST_PER_PART = 2 * RANK
_HALVINGS = 40
"""Of a range of the interval: leaves 10⁻¹² of it."""
_PASSES = 64
"""Over the arrivals, to leave out those that are never the earliest."""

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
    """Narrow the interval by the parts' shortest delays; None if there are too few arrivals or the delays are not steady.

    A sample that a question brings was the youngest: it is no older than the next one that comes is later. So the shortest delay
    of a part is above the shortest of all by no more than the time between arrivals and what its scatter leaves to chance.
    """
    if len(record.count) < PARTS * LEAST_PER_PART or np.any(np.diff(record.count) <= 0.0):
        return None
    parts = [
        (record.count[piece], record.since_s[piece])
        for piece in np.array_split(np.arange(len(record.count)), PARTS)
    ]
    apart_s = high * np.array([np.median(np.diff(count)) for count, _ in parts])
    hulls = [_lower_hull(*part) for part in parts]
    found = low, high
    for _ in range(2):  # the scatter is seen better once the rate is known better
        middle = 0.5 * (found[0] + found[1])
        scatter_s = np.array([_scatter_s(since_s - count * middle) for count, since_s in parts])
        if _steady(hulls, 0.5 * apart_s, 0.5 * scatter_s, low, high) is None:
            return None
        within = _steady(hulls, apart_s, scatter_s, low, high)
        if within is None:
            return None
        found = within
    return found


def _scatter_s(delay_s: Floats) -> float:
    """Return how far the shortest delay lies below RANK others."""
    lowest = np.partition(delay_s, [0, RANK])
    return float(lowest[RANK] - lowest[0])


def _steady(
    hulls: list[tuple[Floats, Floats]], apart_s: Floats, scatter_s: Floats, low: float, high: float
) -> tuple[float, float] | None:
    """Return the intervals with which no part's shortest delay is too far above another's; None if there are none.

    A longer interval lowers what comes late against what comes early, so there is one limit each way.
    """

    def ends_s(interval: float) -> tuple[Floats, Floats]:
        """Return between what each part's shortest delay would have been at best."""
        delay_s = np.array([np.min(since_s - count * interval) for count, since_s in hulls])
        return delay_s - apart_s - scatter_s, delay_s + scatter_s

    def too_short(interval: float) -> bool:
        least_s, most_s = ends_s(interval)
        return bool(np.any(least_s[1:] > np.minimum.accumulate(most_s)[:-1]))

    def too_long(interval: float) -> bool:
        least_s, most_s = ends_s(interval)
        return bool(np.any(np.maximum.accumulate(least_s)[:-1] > most_s[1:]))

    if too_short(high) or too_long(low):
        return None
    shortest, longest = low, high
    if too_short(low):
        shortest = _border(too_short, low, high)
    if too_long(high):
        longest = _border(too_long, high, low)
    return (shortest, longest) if shortest <= longest else None


def _border(is_out: Callable[[float], bool], out: float, within: float) -> float:
    """Return where an interval ceases to be out of the range, on the outer side."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (out + within)
        out, within = (middle, within) if is_out(middle) else (out, middle)
    return out


def _lower_hull(count: Floats, since_s: Floats) -> tuple[Floats, Floats]:
    """Leave out arrivals above a line between two others: no interval makes theirs the shortest delay."""
    for _ in range(_PASSES):
        rise, run = np.diff(since_s), np.diff(count)
        keep = np.ones(len(count), bool)
        keep[1:-1] = rise[:-1] * run[1:] < rise[1:] * run[:-1]
        if keep.all():
            break
        count, since_s = count[keep], since_s[keep]
    return count, since_s
