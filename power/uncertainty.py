"""Uncertainty after the GUM (JCGM 100:2008): quantities with their parts, and what the accuracy of a meter means.

A limit of error L without further knowledge is a rectangular distribution: u = L/√3 (GUM 4.3.7). The specification of
a meter, "x % of reading + y % of range", is one limit on one reading; two readings on the same range share their
errors, so that the offset cancels in a difference and the gain acts on the difference only (GUM 5.2).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from power.errors import OptionInvalid

COVERAGE = 2.0
"""k of the expanded uncertainty: about 95 %."""
STATED_KEYS = ("gain", "offset_w", "resolution_w")
"""What the accuracy of a meter in farm.toml may hold."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its standard uncertainty and the independent parts that it is made of, all in one unit.

    u_std   None if any part is unknown: an uncertainty that leaves something out would be a claim
    parts   name → standard uncertainty, None where unknown
    """

    value: float
    u_std: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, value: float, parts: Mapping[str, float | None]) -> Quantity:
        """Combine independent parts."""
        return cls(value, root_sum_square(parts.values()), dict(parts))

    @property
    def expanded(self) -> float | None:
        """Expanded uncertainty U, k = 2; None if unknown."""
        return None if self.u_std is None else COVERAGE * self.u_std

    @property
    def u_known(self) -> float:
        """Standard uncertainty of the known parts alone: a lower bound where u_std is None."""
        return math.sqrt(sum(part * part for part in self.parts.values() if part is not None))

    @property
    def unknown_parts(self) -> tuple[str, ...]:
        """Names of the parts that are not known."""
        return tuple(name for name, part in self.parts.items() if part is None)

    def times(self, factor: float) -> Quantity:
        """Multiply by an exact number, such as 1 ÷ inferences."""
        size = abs(factor)
        parts = {name: None if part is None else part * size for name, part in self.parts.items()}
        return Quantity(self.value * factor, None if self.u_std is None else self.u_std * size, parts)


class Accuracy(Protocol):
    """How wrong a meter may be, systematically. Powers in W, standard uncertainties returned in W."""

    @property
    def covers_noise(self) -> bool:
        """Whether scatter of the readings is included already."""
        ...

    def u_power_w(self, power_w: float) -> float:
        """Uncertainty of one mean power."""
        ...

    def u_difference_w(self, power_w: float, idle_w: float) -> float:
        """Uncertainty of power − idle, both read with this meter on the same range."""
        ...


@dataclass(frozen=True, slots=True)
class GainOffset:
    """A meter that reads power × (1 + gain error) + offset error; from its specification or its certificate.

    u_gain        relative standard uncertainty of the gain
    u_offset_w    standard uncertainty of the offset
    correlation   between the two: 1 for a specification, which limits their sum; the fit's for a certificate
    resolution_w  smallest step of a reading; rectangular, the same for every reading, does not cancel
    source        where the figures are from
    distribution  of gain and offset, in words: "normal" of a fit, "rectangular" of limits, "limits" of several in squares
    """

    u_gain: float
    u_offset_w: float
    correlation: float = 0.0
    resolution_w: float = 0.0
    source: str = ""
    distribution: str = "limits"

    def __post_init__(self) -> None:
        for name in ("u_gain", "u_offset_w", "resolution_w"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be a number from 0 on, not {value!r}")
        if not -1.0 <= self.correlation <= 1.0:
            raise ValueError(f"correlation must lie between -1 and 1, not {self.correlation!r}")

    @classmethod
    def from_limits(
        cls, gain: float, offset_w: float, *, resolution_w: float = 0.0, source: str = ""
    ) -> GainOffset:
        """Make it of a data sheet's limits of error: ±(gain × reading + offset_w)."""
        return cls(limit(gain), limit(offset_w), 1.0, resolution_w, source, "rectangular")

    @property
    def covers_noise(self) -> bool:
        """Never: scatter is estimated from the readings."""
        return False

    def u_power_w(self, power_w: float) -> float:
        """Uncertainty of one mean power."""
        gain_w, offset_w = abs(power_w) * self.u_gain, self.u_offset_w
        shared = 2.0 * self.correlation * math.copysign(1.0, power_w) * gain_w * offset_w
        # A perfect anticorrelation may leave a tiny negative number.
        return math.sqrt(max(0.0, gain_w**2 + offset_w**2 + shared) + self.u_step_w**2)

    def u_difference_w(self, power_w: float, idle_w: float) -> float:
        """Uncertainty of power − idle on the same range: the offset cancels, the gain acts on the difference."""
        return math.sqrt(((power_w - idle_w) * self.u_gain) ** 2 + 2.0 * self.u_step_w**2)

    @property
    def u_step_w(self) -> float:
        """Uncertainty of one reading from its smallest step."""
        return self.resolution_w / math.sqrt(12.0)


@dataclass(frozen=True, slots=True)
class Between:
    """An estimate of which nothing is known but that the true power lies between two bounds, all equally likely.

    The uncertainty is the root mean square distance of such a truth from the value, which need not be in the middle.
    """

    low_w: float
    high_w: float

    @property
    def covers_noise(self) -> bool:
        """Always: the truth stays between the bounds whatever the readings do."""
        return True

    def u_power_w(self, power_w: float) -> float:
        """Uncertainty of one mean power."""
        return _distance(power_w, self.low_w, self.high_w)

    def u_difference_w(self, power_w: float, idle_w: float) -> float:
        """Uncertainty of power − idle, which lies between nothing and the whole span."""
        return _distance(power_w - idle_w, 0.0, self.high_w - self.low_w)


@dataclass(frozen=True, slots=True)
class Independent:
    """A stated standard uncertainty of every mean power, without any claim that errors cancel in differences."""

    u_w: float
    covers_noise: bool = True

    def u_power_w(self, power_w: float) -> float:
        """Uncertainty of one mean power."""
        return self.u_w

    def u_difference_w(self, power_w: float, idle_w: float) -> float:
        """Uncertainty of power − idle."""
        return math.sqrt(2.0) * self.u_w


def stated_accuracy(stated: Mapping[str, object], where: str) -> GainOffset:
    """Make an accuracy of what a user states: {gain = 0.005, offset_w = 0.02, resolution_w = 0.001}, limits of error.

    `where` names the meter in errors. Raises OptionInvalid for a key that is unknown or a value that is no limit.
    """
    for key in stated:
        if key not in STATED_KEYS:
            near = difflib.get_close_matches(key, STATED_KEYS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it takes {', '.join(STATED_KEYS)}."
            raise OptionInvalid(f"The accuracy of the meter '{where}' takes no '{key}'; {hint}")
    if "gain" not in stated or "offset_w" not in stated:
        raise OptionInvalid(
            f"The accuracy of the meter '{where}' needs gain and offset_w; give 0 for what is none."
        )
    limits = {key: _stated_limit(value, key, where) for key, value in stated.items()}
    return GainOffset.from_limits(
        limits["gain"], limits["offset_w"], resolution_w=limits.get("resolution_w", 0.0), source="farm.toml"
    )


def _stated_limit(value: object, key: str, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0 <= float(str(value)) < math.inf:
        raise OptionInvalid(
            f"{key} in the accuracy of the meter '{where}' must be a number from 0 on, not {value!r}."
        )
    return float(str(value))


def limit(error: float) -> float:
    """Return the standard uncertainty of a limit of error: rectangular, error/√3."""
    return abs(error) / math.sqrt(3.0)


def root_sum_square(parts: Iterable[float | None]) -> float | None:
    """Combine independent standard uncertainties; None if any is unknown."""
    total = 0.0
    for part in parts:
        if part is None:
            return None
        total += part * part
    return math.sqrt(total)


def relative_product(*relative: float) -> float:
    """Combine relative standard uncertainties of independent factors, as of V, V_shunt and R in V·V_shunt/R."""
    return math.sqrt(sum(u * u for u in relative))


def _distance(value: float, low: float, high: float) -> float:
    middle, width = 0.5 * (low + high), high - low
    return math.sqrt(width * width / 12.0 + (value - middle) ** 2)
