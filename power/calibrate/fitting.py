"""The line P_true = gain × P_raw + offset_w through calibration points, with the covariance of its two numbers.

Readings and reference values are uncertain, so the line is the one of least distance in both (D. York et al., "Unified equations
for the slope, intercept, and standard errors of the best straight line", American Journal of Physics 72 (2004) 367; the same
model is ISO/TS 28037:2010, clause 7). What the reference itself is off by has all points in common: no fit sees it and no number
of points averages it, so it is kept apart and added at the end (GUM F.1.2.4).

Points that scatter by more than they should mean that the meter is not quite linear: as much independent scatter is added to
every point as makes chi² what it should be (R. C. Paule, J. Mandel, Journal of Research of the NBS 87 (1982) 377).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from power.calibrate.errors import PointsInvalid
from power.trace import Floats

LEAST_LOADS = 3
"""Beside zero: two numbers are fitted, and a straight line has to be seen to be one."""
WORST_RESIDUAL = 2.5
"""Of four points of a sound calibration the worst lies further off in about 5 % of all cases."""
_ALIKE = 0.05
_ZERO = 0.05
_WORST_U_GAIN = 0.2
_SUSPECT = 0.8
"""Points this near to the worst residual may be to blame as well."""


@dataclass(frozen=True, slots=True)
class Point:
    """One load: what the meter read, what the reference said, W, with standard uncertainties.

    load_w          what was asked for; names the point
    u_raw_w         scatter and resolution of the meter's mean
    u_reference_w   scatter and resolution of the reference at this point alone, not what all points have in common
    """

    load_w: float
    raw_w: float
    u_raw_w: float
    reference_w: float
    u_reference_w: float

    def __post_init__(self) -> None:
        for name in ("load_w", "raw_w", "u_raw_w", "reference_w", "u_reference_w"):
            value = float(getattr(self, name))
            object.__setattr__(self, name, value)
            if not math.isfinite(value):
                raise PointsInvalid(f"{name} of the point at {self.load_w:g} W is {value!r}; read it again.")
            if name.startswith("u_") and value < 0.0:
                raise PointsInvalid(
                    f"{name} of the point at {self.load_w:g} W is negative; an uncertainty is 0 or more."
                )


@dataclass(frozen=True, slots=True)
class Fit:
    """A line and how well it is known.

    covariance      of (gain, offset_w): ((W/W)², W; W, W²); of the points' own uncertainties, not of the reference's common part
    residuals_w     reference − line, point by point
    normalised      each residual over its standard uncertainty, without `linearity_w` beyond what was stated
    residual_sd_w   √(Σ residual² ÷ (points − 2))
    chi2_reduced    Σ (residual ÷ uncertainty)² ÷ (points − 2), likewise
    linearity_w     independent standard uncertainty of every reading because the meter is not exactly linear: what was stated, or
                    what makes chi² right if that is more
    low_w, high_w   calibrated power of the lowest and the highest point
    """

    gain: float
    offset_w: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    residuals_w: tuple[float, ...]
    normalised: tuple[float, ...]
    residual_sd_w: float
    chi2_reduced: float
    linearity_w: float
    low_w: float
    high_w: float

    def corrected_w(self, raw_w: float) -> float:
        """Return the true power of a reading."""
        return self.gain * raw_w + self.offset_w

    @property
    def worst(self) -> int:
        """Index of the point with the largest normalised residual."""
        return max(range(len(self.normalised)), key=lambda i: abs(self.normalised[i]))


def fit(points: Sequence[Point], linearity_w: float = 0.0) -> Fit:
    """Fit the line through zero and at least three loads over the working range.

    `linearity_w` is the standard uncertainty of the meter's linearity, where its maker states one. Raises PointsInvalid.
    """
    if not (math.isfinite(linearity_w) and linearity_w >= 0.0):
        raise PointsInvalid(f"The linearity must be a number of watts from 0 on, not {linearity_w!r}.")
    _check_loads(points, linearity_w)
    data = _Data.of(points)
    stated = _line(data, linearity_w**2)
    _check_line(stated)
    degrees = len(points) - 2
    chi2_reduced = stated.chi2 / degrees
    excess_w2 = linearity_w**2 if chi2_reduced <= 1.0 else _excess_w2(data, linearity_w**2, degrees)
    line = stated if chi2_reduced <= 1.0 else _line(data, excess_w2)
    residuals_w = tuple(float(value) for value in data.y - line.gain * data.x - line.offset_w)
    low_w, high_w = (float(line.gain * x + line.offset_w) for x in (data.x.min(), data.x.max()))
    return Fit(
        gain=line.gain,
        offset_w=line.offset_w,
        covariance=line.covariance,
        residuals_w=residuals_w,
        normalised=stated.normalised(data),
        residual_sd_w=math.sqrt(sum(r * r for r in residuals_w) / degrees),
        chi2_reduced=chi2_reduced,
        linearity_w=math.sqrt(excess_w2),
        low_w=low_w,
        high_w=high_w,
    )


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether points may be signed for; else why not, in one sentence, and which points to repeat, the likeliest first.

    With few points several may explain what is wrong equally well.
    """

    is_good: bool
    text: str
    suspects: tuple[int, ...] = ()


def check_weight(point: Point) -> None:
    """Raise PointsInvalid for a point that claims to be exact."""
    if point.u_raw_w == 0.0 and point.u_reference_w == 0.0:
        raise PointsInvalid(
            f"The point at {point.load_w:g} W has no uncertainty at all; state the resolution of meter and reference."
        )


def judge(points: Sequence[Point], found: Fit) -> Judgement:
    """Judge a fit by its worst point."""
    off = [abs(value) for value in found.normalised]
    i = found.worst
    times = off[i]
    if times <= WORST_RESIDUAL:
        return Judgement(
            True, f"All points lie on one line; the worst is {times:.1f} times its uncertainty off."
        )
    suspects = sorted(range(len(off)), key=lambda k: off[k], reverse=True)
    suspects = [k for k in suspects if off[k] > max(WORST_RESIDUAL, _SUSPECT * times)]
    others = dict.fromkeys(
        f"{points[k].load_w:g} W" for k in suspects if points[k].load_w != points[i].load_w
    )
    also = f" (or it is the one at {' or '.join(others)})" if others else ""
    return Judgement(
        False,
        f"The point at {points[i].load_w:g} W lies {times:.1f} times its uncertainty off the line{also}; repeat it, and if it "
        "stays there, check the load's connections or state the meter's linearity.",
        tuple(suspects),
    )


@dataclass(frozen=True, slots=True)
class _Data:
    x: Floats
    y: Floats
    ux2: Floats
    uy2: Floats

    @classmethod
    def of(cls, points: Sequence[Point]) -> _Data:
        return cls(
            np.array([p.raw_w for p in points]),
            np.array([p.reference_w for p in points]),
            np.square([p.u_raw_w for p in points]),
            np.square([p.u_reference_w for p in points]),
        )


@dataclass(frozen=True, slots=True)
class _Line:
    gain: float
    offset_w: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    weights: Floats
    chi2: float

    def normalised(self, data: _Data) -> tuple[float, ...]:
        """Return residuals over what they should scatter by, the point's own pull on the line taken off."""
        residuals = data.y - self.gain * data.x - self.offset_w
        (vg, c), (_, vo) = self.covariance
        pulled = vg * data.x**2 + 2.0 * c * data.x + vo
        free = np.maximum(1.0 / self.weights - pulled, 0.0)
        # A point that alone determines the line has no residual that could be judged.
        known = free > 1e-9 / self.weights
        return tuple(np.where(known, residuals / np.sqrt(np.where(known, free, 1.0)), 0.0).tolist())


def _line(data: _Data, extra_w2: float) -> _Line:
    x, y, ux2, uy2 = data.x, data.y, data.ux2, data.uy2 + extra_w2
    gain = float(np.polyfit(x, y, 1)[0])
    for _ in range(200):
        weights = 1.0 / (uy2 + gain * gain * ux2)
        total = float(weights.sum())
        mean_x, mean_y = float(weights @ x) / total, float(weights @ y) / total
        dx, dy = x - mean_x, y - mean_y
        beta = weights * (dx * uy2 + gain * dy * ux2)
        before, gain = gain, float((weights * beta) @ dy) / float((weights * beta) @ dx)
        if abs(gain - before) <= 1e-14 * abs(gain):
            break
    offset_w = mean_y - gain * mean_x
    adjusted = mean_x + beta
    centre = float(weights @ adjusted) / total
    v_gain = 1.0 / float(weights @ (adjusted - centre) ** 2)
    shared = -centre * v_gain
    covariance = ((v_gain, shared), (shared, 1.0 / total + centre * centre * v_gain))
    chi2 = float(weights @ (y - gain * x - offset_w) ** 2)
    return _Line(gain, offset_w, covariance, weights, chi2)


def _excess_w2(data: _Data, least_w2: float, degrees: int) -> float:
    """Return the variance common to all points with which chi² is its degrees of freedom."""
    low, high = least_w2, max(least_w2, float(np.max(data.ux2 + data.uy2)))
    while _line(data, high).chi2 > degrees:
        low, high = high, 4.0 * high
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _line(data, middle).chi2 > degrees else (low, middle)
    return high


def _check_loads(points: Sequence[Point], linearity_w: float) -> None:
    need = f"a calibration needs zero and at least {LEAST_LOADS} loads over the working range"
    for point in points if linearity_w == 0.0 else ():
        check_weight(point)
    loads_w = sorted(abs(point.reference_w) for point in points if point.load_w != 0.0)
    zeros_w = [abs(point.reference_w) for point in points if point.load_w == 0.0]
    if not loads_w or loads_w[-1] == 0.0:
        raise PointsInvalid(f"There is no load among the points; {need}.")
    if not zeros_w:
        raise PointsInvalid(f"There is no point at zero; {need}, so read it with the load off.")
    highest_w = loads_w[-1]
    if max(zeros_w) > _ZERO * highest_w:
        raise PointsInvalid(
            f"The reference says {max(zeros_w):.3g} W at zero, so that the load was not off; disconnect it and read zero again."
        )
    distinct = loads_w[:1]
    for load_w in loads_w:
        if load_w - distinct[-1] > _ALIKE * load_w:
            distinct.append(load_w)
    if len(distinct) < LEAST_LOADS:
        raise PointsInvalid(f"There are {len(distinct)} loads that differ by more than {_ALIKE:.0%}; {need}.")
    if distinct[0] > 0.5 * highest_w:
        raise PointsInvalid(f"All loads lie in the upper half of the range; {need}, so add lower ones.")
    if min(p.raw_w for p in points) == max(p.raw_w for p in points):
        raise PointsInvalid(
            "The meter read the same at every load; check that the load's current flows through it."
        )


def _check_line(line: _Line) -> None:
    u_gain = math.sqrt(line.covariance[0][0])
    if not (math.isfinite(line.gain) and line.gain > 0.0):
        raise PointsInvalid(
            f"The meter reads less as the load grows (gain {line.gain:.3g}); check the polarity of its current input."
        )
    if u_gain > _WORST_U_GAIN * line.gain:
        raise PointsInvalid(
            f"The meter does not follow the load (gain {line.gain:.3g} ± {2.0 * u_gain:.2g}); check that the load's current "
            "flows through it, and read each point for longer."
        )
