"""How late a meter is: its times against the true times of load steps, and traces with that taken off.

A meter's times are late by transfer and by half of whatever it averages over. Where energy in a window is concerned, the delay
that counts is the first moment of its response to a step: the area between the step and what the meter shows, over the
height. It follows from the running energy, so that averages and counters are treated as they are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from power.align.curve import Curve
from power.errors import AlignmentError
from power.trace import Floats, Trace

LEAST_STEPS = 4
"""The scatter of fewer gives no standard uncertainty (JCGM 101:2008, 6.4.9)."""
_SETTLED, _ENDS = 0.5, 0.75
"""Of the time between two steps: the level is taken between these. Before it a slow meter may still answer to the last step,
after it one whose times are early, or that averages, already to the next."""
_LEAST_STEP = 5.0
"""A step has to be so many times as high as its levels scatter."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How late a meter's times are, s: mean over `steps` load steps and its standard uncertainty; `scatter_s` of one step."""

    latency_s: float
    u_s: float
    scatter_s: float
    steps: int


def fit_latency(trace: Trace, steps_s: Sequence[float] | Floats, u_steps_s: float = 0.0) -> Latency:
    """Return the latency of a meter that watched a load change at `steps_s`, known on the clock of the trace's times.

    The load has to rest on each level for several of the meter's intervals. `u_steps_s` is the standard uncertainty of the
    steps' own times that all have in common. Raises AlignmentError if there are fewer than four steps in the trace, or they do
    not stand out.
    """
    curve, steps = Curve(trace), np.sort(np.asarray(steps_s, np.float64))
    if len(steps) < LEAST_STEPS:
        raise AlignmentError(
            f"A latency needs {LEAST_STEPS} load steps at least, not {len(steps)}; switch the load more often."
        )
    if not (curve.begin_s < steps[0] and steps[-1] < curve.end_s):
        raise AlignmentError(
            "The trace does not hold all load steps; start the meter before them and stop it after."
        )
    first_s, last_s = 2.0 * steps[0] - steps[1], 2.0 * steps[-1] - steps[-2]
    borders_s = np.concatenate([[max(curve.begin_s, first_s)], steps, [min(curve.end_s, last_s)]])
    late_s = np.array([_late_s(curve, *borders_s[i : i + 3]) for i in range(len(steps))])
    scatter_s = float(np.std(late_s, ddof=1))
    student = math.sqrt((len(steps) - 1) / (len(steps) - 3))
    u_s = math.hypot(scatter_s / math.sqrt(len(steps)) * student, u_steps_s)
    return Latency(float(late_s.mean()), u_s, scatter_s, len(steps))


def _late_s(curve: Curve, before_s: float, step_s: float, after_s: float) -> float:
    """Return by how much one step is late: what the energy around it lacks, over its height."""
    low_w, low_spread_w, begin_s = _level(curve, before_s, step_s)
    high_w, high_spread_w, end_s = _level(curve, step_s, after_s)
    height_w = high_w - low_w
    if abs(height_w) <= _LEAST_STEP * max(low_spread_w, high_spread_w, 1e-9 * abs(high_w)):
        raise AlignmentError(
            f"The load step at {step_s:.3f} s does not stand out ({height_w:+.3g} W); take a larger load, wait longer "
            "between steps, or check that the meter sees it."
        )
    lacking_s = (end_s - begin_s) * (high_w - curve.mean_w(begin_s, end_s)) / height_w
    return lacking_s - (step_s - begin_s)


def _level(curve: Curve, start_s: float, end_s: float) -> tuple[float, float, float]:
    """Return the level between two steps, how far the means of its two halves are apart, and when it ends."""
    length_s = end_s - start_s
    begin_s, last_s = start_s + _SETTLED * length_s, start_s + _ENDS * length_s
    middle_s = 0.5 * (begin_s + last_s)
    first_w, second_w = curve.mean_w(begin_s, middle_s), curve.mean_w(middle_s, last_s)
    return 0.5 * (first_w + second_w), abs(second_w - first_w), last_s


def advanced(trace: Trace, latency_s: float, u_s: float, *, in_place: bool = False) -> Trace:
    """Return a trace whose times are earlier by a meter's latency; twice its uncertainty is added to the clock's bound.

    `in_place` takes the times of the trace for it, which is of no use afterwards: a minute at 1 MS/s is half a gigabyte of them.

    Raises AlignmentError unless both are finite and u_s is not negative.
    """
    if not (math.isfinite(latency_s) and math.isfinite(u_s) and u_s >= 0.0):
        raise AlignmentError(
            f"A latency of {latency_s!r} s with u = {u_s!r} s is none; mend latency_s and latency_u_s in farm.toml."
        )
    t_s: Floats = np.subtract(trace.t_s, latency_s, out=trace.t_s if in_place else None)
    return dataclasses.replace(trace, t_s=t_s, clock_bound_s=trace.clock_bound_s + 2.0 * u_s)
