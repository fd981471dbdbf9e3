"""Edges of a spare channel that the board's GPIO drives: the window, marked in the trace itself.

The board raises the line at the start of the window and lowers it at the end. The pulse in the trace whose length is that of
the window gives both its edges on the trace's clock, whatever that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from power.align.relation import Alignment
from power.clock import MAX_DRIFT
from power.errors import AlignmentError
from power.trace import Flags, Floats, Trace, median_step

GPIO_LATENCY_S = 200e-6
"""How late a line may change after user space asked: 10 to 200 µs through the kernel, a few with mapped registers."""
_LATE_S = 0.01
"""A pulse may be longer than its window by this: a board with all processors busy gets to its line that late at worst."""
_LOW, _HIGH = 0.4, 0.6
"""Of the way between the levels: a level counts as changed only beyond both, so that noise on a slow edge makes no pulses."""


@dataclass(frozen=True)
class Edges:
    """Instants at which a line rose and fell, s, in order; `interval_s` is how finely the record resolves them."""

    rising_s: Floats
    falling_s: Floats
    interval_s: float

    def pulses_s(self) -> Floats:
        """Return [n, 2]: each rise with the fall that follows; a pulse cut off by an end of the record is none."""
        begin = (
            int(np.searchsorted(self.falling_s, self.rising_s[0]))
            if len(self.rising_s)
            else len(self.falling_s)
        )
        ends_s = self.falling_s[begin:]
        count = min(len(self.rising_s), len(ends_s))
        return np.stack([self.rising_s[:count], ends_s[:count]], axis=1)


def logic_edges(t_s: Floats, level: Flags) -> Edges:
    """Return the edges of a line that is seen as high or low: each halfway between the two samples it lies between."""
    changes = np.flatnonzero(level[1:] != level[:-1])
    at_s = 0.5 * (t_s[changes] + t_s[changes + 1])
    rising = level[changes + 1]
    return Edges(at_s[rising], at_s[~rising], _interval_s(t_s))


def analogue_edges(t_s: Floats, level: Floats, threshold: float | None = None) -> Edges:
    """Return the edges of a line that is seen as a voltage: where a straight line between samples crosses the threshold.

    Without a threshold it is halfway between the line's low and high level. Raises AlignmentError if there are no two levels.
    """
    low, high = (float(value) for value in np.quantile(level, [0.0005, 0.9995]))
    middle = 0.5 * (low + high) if threshold is None else threshold
    noise = float(np.median(np.abs(np.diff(level)))) if len(level) > 1 else 0.0
    if not low < middle < high or high - low <= 8.0 * noise:
        raise AlignmentError(
            f"The spare channel shows no two levels ({low:.3g} to {high:.3g}); check that the board's GPIO is wired to it."
        )
    above, below = middle + (_HIGH - 0.5) * (high - low), middle - (0.5 - _LOW) * (high - low)
    # The state after each sample: the last of the two levels that was passed.
    passed = np.where(level >= above, 1, np.where(level <= below, -1, 0))
    known = np.flatnonzero(passed)
    turns = np.flatnonzero(np.diff(passed[known])) if len(known) else known
    crossings = [_crossing_s(t_s, level, middle, int(known[turn]), int(known[turn + 1])) for turn in turns]
    at_s, rising = np.array(crossings, np.float64), passed[known[turns + 1]] > 0
    return Edges(at_s[rising], at_s[~rising], _interval_s(t_s))


def _crossing_s(t_s: Floats, level: Floats, middle: float, first: int, last: int) -> float:
    """Return when the line crossed between two samples, on average if it did more than once."""
    part = level[first : last + 1] - middle
    at = np.flatnonzero(np.signbit(part[1:]) != np.signbit(part[:-1]))
    share = part[at] / (part[at] - part[at + 1])
    steps_s = t_s[first + at + 1] - t_s[first + at]
    return float(np.mean(t_s[first + at] + share * steps_s))


def trace_edges(trace: Trace) -> Edges:
    """Return the edges of a trace's own marker channel. Raises AlignmentError if it has none or it never changes."""
    if trace.marker is None:
        raise AlignmentError(
            "The meter records no spare channel, so no edge can be found; use --align clock or pattern."
        )
    edges = logic_edges(trace.t_s, trace.marker)
    if not len(edges.rising_s) and not len(edges.falling_s):
        raise AlignmentError(
            "The meter's spare channel never changed; check that the board's GPIO is wired to it, or use --align clock."
        )
    return edges


def align_edges(
    edges: Edges,
    start_s: float,
    end_s: float,
    within_s: tuple[float, float] | None = None,
    drift: tuple[float, float] | None = None,
    latency_s: float = GPIO_LATENCY_S,
) -> Alignment:
    """Align by the pulse that lasts as long as the window [start_s, end_s], both on the board's clock.

    within_s   least and greatest trace − board that is possible; None takes any
    drift      of the trace's clock against the board's and its largest error, where they are known
    latency_s  how late the line may change

    With a known drift the rise alone places the window, and the fall, which a busy board may be late with, only tells which
    pulse it is; the residual is how much longer the pulse is than the window. Without it the fall has to tell the drift. Raises
    AlignmentError if no pulse fits, or several do.
    """
    length_s = end_s - start_s
    rise_s, fall_s = _pulse(edges, start_s, length_s, within_s, latency_s)
    longer_s = (fall_s - rise_s) - length_s
    rate, unsure = (longer_s / length_s, 0.0) if drift is None else drift
    residual_s = abs(longer_s) if drift is None else abs(longer_s - rate * length_s)
    # An edge lies anywhere between two samples, and anywhere from no latency to all of it.
    bound_s = 0.5 * edges.interval_s + 0.5 * latency_s + unsure * length_s
    return Alignment(
        "edge", rise_s - start_s - 0.5 * latency_s, rate, bound_s, residual_s, None, start_s, end_s
    )


def _pulse(
    edges: Edges, start_s: float, length_s: float, within_s: tuple[float, float] | None, latency_s: float
) -> tuple[float, float]:
    pulses_s = edges.pulses_s()
    allowed_s = 2.0 * edges.interval_s + _LATE_S + MAX_DRIFT * length_s
    offsets_s = pulses_s[:, 0] - start_s
    fits = np.abs(pulses_s[:, 1] - pulses_s[:, 0] - length_s) <= allowed_s
    if within_s is not None:
        slack_s = edges.interval_s + latency_s
        fits &= (offsets_s >= within_s[0] - slack_s) & (offsets_s <= within_s[1] + slack_s)
    if np.count_nonzero(fits) != 1:
        found = "none" if not np.any(fits) else f"{np.count_nonzero(fits)}"
        raise AlignmentError(
            f"Of {len(pulses_s)} pulses on the spare channel {found} can be the window of {length_s:.6g} s; check the "
            "GPIO's wiring, or use --align clock."
        )
    rise_s, fall_s = (float(value) for value in pulses_s[fits][0])
    return rise_s, fall_s


def _interval_s(t_s: Floats) -> float:
    return median_step(t_s) if len(t_s) > 1 else math.inf
