"""Energy of windows of a trace: exact at the edges, one pass, constant memory.

    instantaneous  trapezoid on the real timestamps, the edges interpolated
    average        value i stands for the time around the middle of its averaging; the intervals at the edges pro-rated
    counter        difference, interpolated within the interval that an edge falls into

A gap (more than three nominal intervals) is bridged by a straight line and counted. A counter loses nothing in a gap;
for it one counts only where an edge falls into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from power.errors import TraceInvalid, WindowInvalid
from power.reduction.noise import BatchMeans
from power.trace import BLOCK, GAP_INTERVALS, Flags, Floats, Reading, Trace, Window


@dataclass(frozen=True, slots=True)
class WindowEnergy:
    """Energy of one window.

    energy_j      integral of power over the window
    samples       readings that fall into the window
    gaps, gap_s   holes that touch the window, and how much of it they cover
    clipped       readings in the window at the meter's limit, None if the meter cannot tell
    u_noise_w     standard uncertainty (type A) of the mean power, None with fewer than 4 readings
    blur_s        time by which the two edges together may be off because sampling is that coarse: a step of ΔP at
                  each edge costs up to blur_s × ΔP
    """

    window: Window
    energy_j: float
    samples: int
    gaps: int
    gap_s: float
    clipped: int | None
    u_noise_w: float | None
    blur_s: float

    @property
    def mean_w(self) -> float:
        """Mean power over the window."""
        return self.energy_j / self.window.duration_s


def energy(trace: Trace, window: Window) -> WindowEnergy:
    """Return the energy of one window. Raises WindowInvalid if the trace does not cover it."""
    return energies([trace], [window])[0]


def energies(chunks: Iterable[Trace], windows: Sequence[Window]) -> list[WindowEnergy]:
    """Return the energy of every window in one pass over a trace that comes in successive pieces.

    Raises TraceInvalid if there is no piece or the pieces do not follow one another, WindowInvalid if the trace does
    not cover a window: energy over no data is not zero.
    """
    reduction: Reduction | None = None
    for chunk in chunks:
        if reduction is None:
            reduction = Reduction(chunk, windows)
        reduction.add(chunk)
    if reduction is None:
        raise TraceInvalid("There is no energy without samples; the meter yielded none.")
    return reduction.result()


class Reduction:
    """Energy of several windows of a stream of chunks; `energies` drives it.

    The first chunk tells how the meter reads; its samples are taken by `add` like all others.
    """

    def __init__(self, first: Trace, windows: Sequence[Window]) -> None:
        self._reading: Reading = first.reading
        interval_s, tau_s = first.interval_s, first.averaging_s
        lag_s = 0.0
        if self._reading == "average":
            interval_s = interval_s or tau_s
            tau_s = tau_s or interval_s
            # A value belongs to the middle of its averaging time, which is not the middle of a sampling interval
            # if the two differ: move the windows rather than a billion samples.
            lag_s = 0.5 * ((tau_s or 0.0) - (interval_s or 0.0))
        self._interval_s = interval_s
        smear_s = tau_s if tau_s is not None and interval_s is not None and tau_s > interval_s else None
        self._sums = [
            _Sum(window, lag_s, self._reading, interval_s, smear_s, first.update_s, first.step_j)
            for window in windows
        ]
        self._begin_s: float | None = None
        self._last: tuple[float, float] | None = None
        self._tells_clipping = True

    def add(self, chunk: Trace) -> None:
        """Take the next chunk. Raises TraceInvalid if it does not follow the last one or is of another kind."""
        if chunk.reading != self._reading:
            raise TraceInvalid(f"A trace of kind '{self._reading}' went on as '{chunk.reading}'.")
        t_s, values, clipped = chunk.t_s, chunk.values, chunk.clipped
        self._tells_clipping = self._tells_clipping and clipped is not None
        if self._last is None:
            self._open(float(t_s[0]), float(values[0]), clipped)
        elif not t_s[0] > self._last[0]:
            raise TraceInvalid("The pieces of a trace must follow one another in time.")
        else:
            self._join(self._last, t_s, values, clipped)
        for begin in range(0, len(t_s) - 1, BLOCK):
            part = slice(begin, begin + BLOCK + 1)
            self._block(t_s[part], values[part], None if clipped is None else clipped[part])
        self._last = float(t_s[-1]), float(values[-1])

    def result(self) -> list[WindowEnergy]:
        """Return the energies. Raises WindowInvalid if a window is not covered, TraceInvalid if nothing was added."""
        if self._last is None or self._begin_s is None:
            raise TraceInvalid("There is no energy without samples; the meter yielded none.")
        return [s.result(self._begin_s, self._last[0], self._tells_clipping) for s in self._sums]

    def _open(self, t_s: float, value: float, clipped: Flags | None) -> None:
        self._begin_s = t_s
        if self._reading == "average" and self._interval_s is not None:
            # The first average already stands for the interval before it.
            self._begin_s = t_s - self._interval_s
            self._block(np.array([self._begin_s, t_s]), np.array([value, value]), _ending(clipped))
            return
        for total in self._sums:
            total.first(t_s, clipped is not None and bool(clipped[0]))

    def _join(self, last: tuple[float, float], t_s: Floats, values: Floats, clipped: Flags | None) -> None:
        times, pair = np.array([last[0], t_s[0]]), np.array([last[1], values[0]])
        self._block(times, pair, _ending(clipped))

    def _block(self, t_s: Floats, values: Floats, clipped: Flags | None) -> None:
        for total in self._sums:
            total.add(t_s, values, clipped)


def _ending(clipped: Flags | None) -> Flags | None:
    return None if clipped is None else np.array([False, bool(clipped[0])])


class _Sum:
    """The energy of one window, from successive blocks that share their border sample."""

    def __init__(
        self,
        window: Window,
        lag_s: float,
        reading: Reading,
        interval_s: float | None,
        smear_s: float | None,
        update_s: float | None,
        step_j: float | None,
    ) -> None:
        self._window = window
        self._start_s, self._end_s = window.start_s + lag_s, window.end_s + lag_s
        self._reading = reading
        self._interval_s = interval_s
        self._limit_s = math.inf if interval_s is None else GAP_INTERVALS * interval_s
        self._smear_s = smear_s
        self._update_s, self._step_j = (update_s, step_j) if reading == "counter" else (None, None)
        self._energies_j: list[float] = []
        self._noise = BatchMeans()
        self._samples = self._clipped = self._gaps = 0
        self._gap_s = self._blur_s = 0.0

    def first(self, t_s: float, clipped: bool) -> None:
        """Count the very first sample, which ends no interval."""
        if self._start_s <= t_s <= self._end_s:
            self._samples += 1
            self._clipped += clipped

    def add(self, t_s: Floats, values: Floats, clipped: Flags | None) -> None:
        """Add the intervals between these samples, as far as they lie in the window."""
        if t_s[-1] < self._start_s or t_s[0] > self._end_s:
            return
        low, high = 0, len(t_s) - 1
        if t_s[0] < self._start_s:
            low = int(np.searchsorted(t_s, self._start_s, "left"))
        if t_s[-1] > self._end_s:
            high = int(np.searchsorted(t_s, self._end_s, "right")) - 1
        if low > high:  # both edges between the same two samples
            self._part(t_s, values, high, self._start_s, self._end_s)
            return
        if low > 0 and t_s[low] > self._start_s:
            self._part(t_s, values, low - 1, self._start_s, float(t_s[low]))
        if high > low:
            self._whole(t_s[low : high + 1], values[low : high + 1])
        if high < len(t_s) - 1 and t_s[high] < self._end_s:
            self._part(t_s, values, high, float(t_s[high]), self._end_s)
        self._count(low, high, clipped)

    def result(self, begin_s: float, end_s: float, tells_clipping: bool) -> WindowEnergy:
        """Return the sum, if the samples from begin_s to end_s cover the window."""
        slack_s = 1e-9 * max(1.0, abs(end_s) * 1e-3)  # rounding of times far from zero
        if self._start_s < begin_s - slack_s:
            raise WindowInvalid(
                f"The trace begins {begin_s - self._start_s:.3g} s after the window; start the meter earlier."
            )
        if self._end_s > end_s + slack_s:
            raise WindowInvalid(
                f"The trace ends {self._end_s - end_s:.3g} s before the window does; stop the meter later."
            )
        return WindowEnergy(
            self._window,
            math.fsum(self._energies_j),
            self._samples,
            self._gaps,
            self._gap_s,
            self._clipped if tells_clipping else None,
            self._u_noise_w(),
            self._blur_s,
        )

    def _u_noise_w(self) -> float | None:
        if self._update_s is None and self._step_j is None:
            return self._noise.u_mean()
        # What a counter's readings scatter by is their age, up to one renewal at either edge, and its steps, and not its
        # source's noise.
        duration_s = self._window.duration_s
        stale_j = abs(math.fsum(self._energies_j)) * (self._update_s or 0.0) / duration_s
        return math.hypot(stale_j, self._step_j or 0.0) / (math.sqrt(6.0) * duration_s)

    def _whole(self, t_s: Floats, values: Floats) -> None:
        steps_s = np.diff(t_s)
        if self._reading == "counter":
            self._energies_j.append(float(values[-1] - values[0]))
            self._noise.add(np.diff(values) / steps_s)
            return
        self._noise.add(values[1:])
        ends_j = float(np.dot(steps_s, values[1:]))
        if self._reading == "average":
            self._energies_j.append(ends_j)
        else:
            self._energies_j.append(0.5 * (ends_j + float(np.dot(steps_s, values[:-1]))))
        if steps_s.max() > self._limit_s:
            self._holes(steps_s, values)

    def _holes(self, steps_s: Floats, values: Floats) -> None:
        for i in np.flatnonzero(steps_s > self._limit_s):
            hole_s = float(steps_s[i])
            if self._reading == "average" and self._interval_s is not None:
                # The value after the hole stands for its own interval only, not for the whole hole.
                hole_s -= self._interval_s
                self._energies_j.append(0.5 * hole_s * float(values[i] - values[i + 1]))
            self._gaps += 1
            self._gap_s += hole_s

    def _part(self, t_s: Floats, values: Floats, i: int, begin_s: float, end_s: float) -> None:
        """Add the part [begin_s, end_s] of the interval after sample i."""
        before_s, after_s = float(t_s[i]), float(t_s[i + 1])
        before, after = float(values[i]), float(values[i + 1])
        span_s = after_s - before_s
        self._blur(span_s, begin_s - before_s, after_s - end_s)
        if span_s > self._limit_s:
            self._gaps += 1
            self._gap_s += end_s - begin_s
        if self._reading == "counter":
            self._energies_j.append((after - before) * ((end_s - begin_s) / span_s))
            return
        ramp_s = span_s  # how long the power moves from `before` to `after`
        if self._reading == "average":
            hole = span_s > self._limit_s and self._interval_s is not None
            ramp_s = span_s - self._interval_s if hole and self._interval_s is not None else 0.0
        self._energies_j.append(
            _ramp_j(before, after, ramp_s, end_s - before_s)
            - _ramp_j(before, after, ramp_s, begin_s - before_s)
        )

    def _blur(self, span_s: float, outside_before_s: float, outside_after_s: float) -> None:
        """Add what a step of power at the edge, unseen between two samples, would falsify the energy by, per watt."""
        if self._reading == "average" and self._smear_s is not None:
            self._blur_s += 0.25 * self._smear_s
            return
        inside_s = span_s - outside_before_s - outside_after_s
        if self._reading == "instantaneous":
            self._blur_s += 0.5 * inside_s * inside_s / span_s
        else:
            self._blur_s += inside_s * (span_s - inside_s) / span_s

    def _count(self, low: int, high: int, clipped: Flags | None) -> None:
        # The sample that opens a block was counted as the one that closed the block before.
        low = max(low, 1)
        if high < low:
            return
        self._samples += high - low + 1
        if clipped is not None:
            self._clipped += int(np.count_nonzero(clipped[low : high + 1]))


def _ramp_j(before: float, after: float, ramp_s: float, elapsed_s: float) -> float:
    """Integrate a power that moves from `before` to `after` within ramp_s and stays there, up to elapsed_s."""
    moving_s = min(elapsed_s, ramp_s)
    moved = 0.0 if ramp_s == 0.0 else 0.5 * (after - before) * moving_s * moving_s / ramp_s
    return before * moving_s + moved + after * (elapsed_s - moving_s)
