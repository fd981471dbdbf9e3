"""A trace as its running energy, which makes the mean power of any span two look-ups, however the meter reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from power.trace import Floats, Trace, median_step

_ROUNDING = 1e-7
"""Of the mean power: differences of a running energy know no less."""

MOST_SAMPLES = 1 << 21
"""Of more, neighbours are taken together: no pattern is that fine, and each sample would need some 60 bytes."""


class Curve:
    """Running energy of a trace, of any reading.

    Each sample stands for a cell of time: an average for its averaging time, moved to its middle where that is not the
    sampling interval (as in power/reduction/energy.py); a counter's difference for the time between two readings;
    an instantaneous value for the time halfway to its neighbours.

    interval_s   how finely it resolves time: between samples, of an averaging time, or of a counter's renewal
    """

    def __init__(self, trace: Trace) -> None:
        t_s, values = trace.t_s, trace.values
        step_s = median_step(t_s) if len(t_s) > 1 else (trace.interval_s or 1.0)
        if trace.reading != "counter" and len(t_s) > MOST_SAMPLES:
            thinned = -(-len(t_s) // MOST_SAMPLES)
            self._t_s, self._energy_j = _thinned(t_s, values, thinned, is_average=trace.reading == "average")
            values = np.diff(self._energy_j) / np.diff(self._t_s)
            if trace.reading == "average" and trace.averaging_s is not None:
                self._t_s -= 0.5 * (trace.averaging_s - (trace.interval_s or trace.averaging_s))
                step_s = max(step_s, trace.averaging_s)
            step_s *= thinned
        elif trace.reading == "counter":
            self._t_s, self._energy_j = t_s, values - values[0]
        elif trace.reading == "average":
            interval_s = trace.interval_s or trace.averaging_s or step_s
            tau_s = trace.averaging_s or interval_s
            ends_s = t_s - 0.5 * (tau_s - interval_s)
            self._t_s = np.concatenate([[ends_s[0] - interval_s], ends_s])
            self._energy_j = np.concatenate([[0.0], np.cumsum(values * np.diff(self._t_s))])
            step_s = max(step_s, tau_s)
        else:
            self._t_s = t_s
            self._energy_j = np.concatenate(
                [[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]) * np.diff(t_s))]
            )
        self._is_instantaneous = trace.reading == "instantaneous" and len(values) == len(self._t_s)
        self._values = values
        self.interval_s = max(step_s, trace.update_s or 0.0)

    @property
    def begin_s(self) -> float:
        """From when on energy is known."""
        return float(self._t_s[0])

    @property
    def end_s(self) -> float:
        """Until when energy is known."""
        return float(self._t_s[-1])

    def coarser(self, step_s: float) -> Curve:
        """Return the same energy as averages over even steps, which takes out whatever repeats itself with that period."""
        steps = int((self.end_s - self.begin_s) / step_s)
        found = object.__new__(Curve)
        t_s: Floats = np.linspace(self.begin_s, self.begin_s + steps * step_s, steps + 1)
        found._t_s = t_s
        found._energy_j = self.energy_j(found._t_s)
        found._values = np.diff(found._energy_j) / step_s
        found._is_instantaneous = False
        found.interval_s = step_s
        return found

    def energy_j(self, at_s: NDArray[np.floating[Any]]) -> Floats:
        """Return the running energy; constant outside of the trace."""
        found: Floats = np.interp(at_s, self._t_s, self._energy_j)
        return found

    def mean_w(self, start_s: float, end_s: float) -> float:
        """Return the mean power of a span."""
        before_j, after_j = self.energy_j(np.array([start_s, end_s]))
        return float(after_j - before_j) / (end_s - start_s)

    def count(self, start_s: float, end_s: float) -> int:
        """Return how many samples lie in a span."""
        return int(np.searchsorted(self._t_s, end_s) - np.searchsorted(self._t_s, start_s))

    def grid(self, start_s: float, end_s: float, step_s: float) -> Grid:
        """Return the running energy at even steps."""
        steps = int(np.ceil((end_s - start_s) / step_s)) + 2
        energy_j = self.energy_j(start_s + step_s * np.arange(steps + 1))
        power_w = np.diff(energy_j) / step_s
        # Without its mean, so that the variance is no difference of large numbers.
        mean_w = float(power_w.mean())
        power_w -= mean_w
        return Grid(
            step_s, _running(power_w * step_s), _running(power_w * power_w * step_s), _ROUNDING * abs(mean_w)
        )

    def cells(self, start_s: float, end_s: float) -> Cells:
        """Return the samples whose cells touch a span."""
        if self._is_instantaneous:
            middles_s = 0.5 * (self._t_s[1:] + self._t_s[:-1])
            borders_s = np.concatenate([self._t_s[:1], middles_s, self._t_s[-1:]])
            values = self._values
        else:
            borders_s = self._t_s
            values = np.diff(self._energy_j) / np.diff(self._t_s)
        low = max(0, int(np.searchsorted(borders_s, start_s, "right")) - 1)
        high = min(len(values), int(np.searchsorted(borders_s, end_s, "left")))
        return Cells(borders_s[low : high + 1], values[low:high])


def _thinned(t_s: Floats, values: Floats, thinned: int, *, is_average: bool) -> tuple[Floats, Floats]:
    """Return times and running energy at every `thinned`-th sample, piece by piece; the rest at the end is left out.

    An average stands for the time since the sample before it.
    """
    knots = 1 + (len(t_s) - 1) // thinned
    energy_j = np.zeros(knots)
    size = thinned * max(1, (1 << 18) // thinned)
    for begin in range(0, (knots - 1) * thinned, size):
        part = slice(begin, min(begin + size, (knots - 1) * thinned) + 1)
        height_w = values[part][1:] if is_average else 0.5 * (values[part][1:] + values[part][:-1])
        steps_j = height_w * np.diff(t_s[part])
        first = begin // thinned
        sums_j = steps_j.reshape(-1, thinned).sum(axis=1)
        energy_j[first + 1 : first + 1 + len(sums_j)] = energy_j[first] + np.cumsum(sums_j)
    return t_s[: (knots - 1) * thinned + 1 : thinned].copy(), energy_j


def _running(parts: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(parts)])


@dataclass(frozen=True)
class Grid:
    """Running energy and running square of power, at even steps. A spread of up to `floor_w` is rounding."""

    step_s: float
    energy: Floats
    square: Floats
    floor_w: float

    def correlation(self, spans_s: Floats, length_s: float, places: int) -> Floats:
        """Return Pearson's coefficient of power and "busy" over `length_s`, begun at each of the first `places` steps.

        `spans_s` [n, 2] are the busy spans from the begin on.
        """
        inside = np.zeros(places)
        for start_s, end_s in spans_s:
            inside += self._at(self.energy, end_s, places) - self._at(self.energy, start_s, places)
        whole = self._at(self.energy, length_s, places) - self.energy[:places]
        square = self._at(self.square, length_s, places) - self.square[:places]
        busy = float(np.diff(spans_s, axis=1).sum()) / length_s
        covariance = (inside - busy * whole) / length_s
        variance = np.maximum(square / length_s - (whole / length_s) ** 2, 0.0)
        spread = np.sqrt(variance * busy * (1.0 - busy))
        return np.divide(covariance, spread, out=np.zeros(places), where=spread > self.floor_w)

    def _at(self, running: Floats, ahead_s: float, places: int) -> Floats:
        """Return a running sum so much ahead of each place, interpolated."""
        steps = ahead_s / self.step_s
        whole = int(steps)
        part = steps - whole
        return (1.0 - part) * running[whole : whole + places] + part * running[whole + 1 : whole + 1 + places]


@dataclass(frozen=True)
class Cells:
    """Samples with the time each stands for: value i is the mean between borders i and i + 1."""

    borders_s: Floats
    values: Floats

    def correlation(self, spans_s: Floats) -> float:
        """Return Pearson's coefficient of the values and the busy part of their cells; 0 where either is constant."""
        busy_s = np.concatenate([[0.0], np.cumsum(np.diff(spans_s, axis=1).ravel())])
        edges_s = spans_s.ravel()
        heights_s = np.repeat(busy_s, 2)[1:-1]
        lengths_s = np.diff(self.borders_s)
        share = np.diff(np.interp(self.borders_s, edges_s, heights_s)) / lengths_s
        share, values = share - share.mean(), self.values - self.values.mean()
        norm = float(np.sqrt(np.dot(share, share) * np.dot(values, values)))
        return float(np.dot(share, values)) / norm if norm > 0.0 else 0.0
