"""A known busy/idle pattern, found in a power trace.

The board is kept busy for spans that it times itself. Where those spans lie in the trace is where power correlates best
with "busy" (Pearson's coefficient over the pattern): first on a coarse grid over everything the clocks allow, then around
the best place on a fine one whose peak is a parabola's, then by least squares on the samples themselves, each standing
for its own averaging time. Sums come from the running energy, so that a place costs as many operations as the pattern has
edges, however many samples lie between; coarse and fine place together take less than a second for a million samples.

What repeats itself within the spans, once a request, is averaged out first, and counts as a sample interval.

Power has to be shared out between "busy" and "idle" only roughly: gain, offset and slow drift of the meter do not matter.
Source: C. H. Knapp, G. C. Carter, "The generalized correlation method for estimation of time delay", IEEE Trans. ASSP 24 (1976).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from power.align.curve import Curve
from power.align.relation import Alignment, Quality
from power.clock import MAX_DRIFT
from power.errors import AlignmentError
from power.trace import Floats, Trace

LEAST_SPANS = 3
LEAST_PEAK = 0.6
"""A correlation below this explains less than a third of what the power did."""
LEAST_RATIO = 1.15
"""The best place has to be better than any other by this."""
_COARSE_PER_SPAN = 16
_FINE_PLACES = 4096
_ZOOM_PLACES = 41
_MOST_FITTED = 20_000
"""Samples up to which least squares pays: above, a sample interval is a ten-thousandth of the pattern."""


@dataclass(frozen=True)
class Pattern:
    """Busy spans on the board's clock, s: [n, 2] starts and ends, in order. Raises AlignmentError if it is none.

    slack_s   how much longer than told the board may have been busy at either side of a span, on average
    period_s  time of one request: power repeats itself with it, and nobody knows how it goes meanwhile
    """

    spans_s: Floats
    slack_s: float = 0.0
    period_s: float = 0.0

    def __post_init__(self) -> None:
        spans_s = np.asarray(self.spans_s, np.float64)
        if spans_s.ndim != 2 or spans_s.shape[1:] != (2,) or len(spans_s) < LEAST_SPANS:
            raise AlignmentError(
                f"A pattern needs {LEAST_SPANS} busy spans at least; let the board work more often."
            )
        if not bool(np.all(np.diff(spans_s.ravel()) > 0.0)):
            raise AlignmentError(
                "The busy spans of a pattern must follow one another, with a rest in between."
            )
        object.__setattr__(self, "spans_s", spans_s)

    @property
    def start_s(self) -> float:
        """Begin of the first span; the pattern's own zero."""
        return float(self.spans_s[0, 0])

    @property
    def middle_s(self) -> float:
        """Middle between first and last edge."""
        return float(0.5 * (self.spans_s[0, 0] + self.spans_s[-1, 1]))

    @property
    def shortest_s(self) -> float:
        """The shortest span or rest."""
        return float(np.diff(self.spans_s.ravel()).min())

    @property
    def longest_s(self) -> float:
        """The longest span."""
        return float(np.diff(self.spans_s, axis=1).max())


def fit_pattern(
    trace: Trace,
    patterns: Sequence[Pattern],
    within_s: tuple[float, float] | None = None,
    drift: float | None = None,
) -> Alignment:
    """Align a trace by one pattern or more, each unlike the others, in order of time.

    within_s  least and greatest trace − board that is possible; None looks everywhere in the trace
    drift     of the trace's clock against the board's, where it is known otherwise; two patterns tell it themselves

    Raises AlignmentError if there is no pattern, one is not found or not surely, or they contradict one another.
    """
    if not patterns:
        raise AlignmentError(
            "There is no busy/idle pattern to look for; let the board make one before and after the run."
        )
    curve, period_s = Curve(trace), max(pattern.period_s for pattern in patterns)
    if period_s > curve.interval_s:
        curve = curve.coarser(period_s)
    first = _find(curve, patterns[0], within_s, drift or 0.0)
    found = [first]
    for pattern in patterns[1:]:
        away_s = MAX_DRIFT * abs(pattern.middle_s - patterns[0].middle_s) + first.bound_s + pattern.longest_s
        found.append(_find(curve, pattern, (first.offset_s - away_s, first.offset_s + away_s), drift or 0.0))
    last = found[-1]
    bound_s, residual_s = max(one.bound_s for one in found), max(one.residual_s for one in found)
    if len(found) > 1:
        drift = _drift(found, bound_s)
        # With three or more, those between tell how straight the line is.
        bent = [one.offset_s - first.offset_s - drift * (one.middle_s - first.middle_s) for one in found]
        residual_s = max(residual_s, float(np.max(np.abs(bent))))
    weakest = min((one.quality for one in found), key=lambda quality: quality.peak)
    return Alignment(
        "pattern", first.offset_s, drift or 0.0, bound_s, residual_s, weakest, first.middle_s, last.middle_s
    )


@dataclass(frozen=True, slots=True)
class _Found:
    middle_s: float
    offset_s: float
    quality: Quality
    residual_s: float
    bound_s: float


def _drift(found: Sequence[_Found], bound_s: float) -> float:
    first, last = found[0], found[-1]
    apart_s = last.middle_s - first.middle_s
    drift = (last.offset_s - first.offset_s) / apart_s
    if abs(drift) > MAX_DRIFT + 2.0 * bound_s / apart_s:
        raise AlignmentError(
            f"The two patterns are {drift * 1e6:+.0f} ppm further apart in the trace than on the board, which no clock "
            "explains; measure again."
        )
    return drift


def _find(curve: Curve, pattern: Pattern, within_s: tuple[float, float] | None, drift: float) -> _Found:
    """Find one pattern. A place is where the pattern's first edge is put on the trace's clock."""
    ahead_s = (pattern.spans_s - pattern.start_s) * (1.0 + drift)
    place_s, quality = _coarse(curve, pattern, ahead_s, within_s)
    _refuse(quality, pattern, curve)
    reach_s = 1.5 * pattern.shortest_s / _COARSE_PER_SPAN + curve.interval_s
    best_s = _fine(curve, ahead_s, place_s, reach_s)
    if curve.count(best_s, best_s + ahead_s[-1, 1]) <= _MOST_FITTED:
        best_s = _fitted(curve, ahead_s, best_s, 2.0 * curve.interval_s)
    # Each half of the edges by itself: if the pattern was stretched or hit by something, they part.
    half = len(ahead_s) // 2
    halves_s = [_fine(curve, part, best_s, reach_s) for part in (ahead_s[:half], ahead_s[half:])]
    residual_s = 0.5 * abs(halves_s[1] - halves_s[0])
    bound_s = max(2.0 * curve.interval_s, residual_s) + pattern.slack_s
    # The place belongs to the first edge, the offset to the middle.
    middle_ahead_s = pattern.middle_s - pattern.start_s
    offset_s = best_s + middle_ahead_s * (1.0 + drift) - pattern.middle_s
    return _Found(pattern.middle_s, offset_s, quality, residual_s, bound_s)


def _refuse(quality: Quality, pattern: Pattern, curve: Curve) -> None:
    if pattern.shortest_s < curve.interval_s:
        raise AlignmentError(
            f"The pattern's shortest span of {pattern.shortest_s:.3g} s is shorter than the meter's interval or a request, "
            f"{curve.interval_s:.3g} s; use a faster meter, or --align clock."
        )
    if quality.peak < LEAST_PEAK:
        raise AlignmentError(
            f"The busy/idle pattern is not in the trace (correlation {quality.peak:.2f}, {LEAST_PEAK:g} is needed); check "
            "that the meter sees this board and that the model loads it, or use --align clock."
        )
    if quality.ratio is not None and quality.ratio < LEAST_RATIO:
        raise AlignmentError(
            f"The busy/idle pattern fits several places of the trace almost equally well (ratio {quality.ratio:.2f}, "
            f"{LEAST_RATIO:g} is needed); let other work on the board rest, or use --align clock."
        )


def _coarse(
    curve: Curve, pattern: Pattern, ahead_s: Floats, within_s: tuple[float, float] | None
) -> tuple[float, Quality]:
    step_s, rest_s = pattern.shortest_s / _COARSE_PER_SPAN, pattern.shortest_s
    low_s, high_s = curve.begin_s + rest_s, curve.end_s - rest_s - ahead_s[-1, 1]
    if within_s is not None:
        low_s, high_s = max(low_s, within_s[0] + pattern.start_s), min(high_s, within_s[1] + pattern.start_s)
    if low_s > high_s:
        raise AlignmentError(
            "The trace does not hold the whole busy/idle pattern; start the meter before it and stop it after."
        )
    grid = curve.grid(low_s - rest_s, high_s + rest_s + ahead_s[-1, 1] + step_s, step_s)
    places = int((high_s - low_s) / step_s) + 1
    r = grid.correlation(ahead_s + rest_s, ahead_s[-1, 1] + 2.0 * rest_s, places)
    at = int(np.argmax(r))
    peak, away = float(r[at]), int(np.ceil(pattern.longest_s / step_s))
    others = np.concatenate([r[: max(0, at - away)], r[at + away + 1 :]])
    second = float(others.max()) if len(others) else None
    # A second place that correlates not at all is no rival; the ratio would be any number.
    ratio = None if second is None else peak / max(second, 0.01)
    return low_s + at * step_s, Quality(peak, ratio)


def _fine(curve: Curve, ahead_s: Floats, place_s: float, reach_s: float) -> float:
    """Return the place near `place_s` that puts most energy into the busy spans and least into the rests."""
    step_s = max(curve.interval_s / 8.0, 2.0 * reach_s / _FINE_PLACES)
    places_s = np.arange(place_s - reach_s, place_s + reach_s + step_s, step_s)
    busy = float(np.diff(ahead_s, axis=1).sum() / (ahead_s[-1, 1] - ahead_s[0, 0]))
    inside_j = np.zeros(len(places_s))
    for start_s, end_s in ahead_s:
        inside_j += curve.energy_j(places_s + end_s) - curve.energy_j(places_s + start_s)
    inside_j -= busy * (curve.energy_j(places_s + ahead_s[-1, 1]) - curve.energy_j(places_s + ahead_s[0, 0]))
    return _top(places_s, inside_j)


def _fitted(curve: Curve, ahead_s: Floats, place_s: float, reach_s: float) -> float:
    """Return the place at which samples that are averages over their cells fit the pattern best (least squares)."""
    rest_s = min(float(np.diff(ahead_s.ravel()).min()), 4.0 * curve.interval_s + reach_s)
    cells = curve.cells(place_s - rest_s, place_s + ahead_s[-1, 1] + rest_s)
    for _ in range(2):
        places_s = np.linspace(place_s - reach_s, place_s + reach_s, _ZOOM_PLACES)
        place_s = _top(places_s, np.array([cells.correlation(ahead_s + one) for one in places_s]))
        reach_s *= 4.0 / _ZOOM_PLACES
    return place_s


def _top(at: Floats, height: Floats) -> float:
    """Return where an even row of heights is highest: the middle of a flat top, else the parabola's through three points."""
    best = float(height.max())
    flat = np.flatnonzero(height >= best - 1e-12 * max(abs(best), 1e-300))
    first, last = int(flat[0]), int(flat[-1])
    if first != last or not 0 < first < len(at) - 1:
        return float(0.5 * (at[first] + at[last]))
    left, right = height[first - 1], height[first + 1]
    bend = left - 2.0 * best + right
    return float(at[first] + 0.5 * (left - right) / bend * (at[1] - at[0]))
