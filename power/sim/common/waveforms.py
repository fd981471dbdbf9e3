"""Powers as functions of time whose integral is known exactly. Times are s on the host's clock, arrays in, arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from power.trace import Floats


class Waveform(ABC):
    """A power over time."""

    @abstractmethod
    def power_w(self, t_s: Floats) -> Floats:
        """Return the power at each time."""

    @abstractmethod
    def integral_j(self, t_s: Floats) -> Floats:
        """Return the energy from a fixed origin up to each time."""

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Return the energy between two times."""
        low, high = self.integral_j(np.array([start_s, end_s]))
        return float(high - low)


@dataclass(frozen=True)
class Constant(Waveform):
    """Always the same."""

    level_w: float

    def power_w(self, t_s: Floats) -> Floats:
        """Return the level."""
        return np.full_like(t_s, self.level_w)

    def integral_j(self, t_s: Floats) -> Floats:
        """Return level × time."""
        return self.level_w * t_s


@dataclass(frozen=True)
class Square(Waveform):
    """High for `duty` of every period, else low: inferences with pauses, and with a small duty bursts."""

    low_w: float
    high_w: float
    frequency_hz: float
    duty: float = 0.5
    phase: float = 0.0

    def power_w(self, t_s: Floats) -> Floats:
        """Return low or high."""
        turn = np.mod(t_s * self.frequency_hz + self.phase, 1.0)
        return np.where(turn < self.duty, self.high_w, self.low_w)

    def integral_j(self, t_s: Floats) -> Floats:
        """Return whole periods and the part of the last."""
        whole, turn = np.divmod(t_s * self.frequency_hz + self.phase, 1.0)
        high_s = (whole * self.duty + np.minimum(turn, self.duty)) / self.frequency_hz
        return self.low_w * t_s + (self.high_w - self.low_w) * high_s


@dataclass(frozen=True)
class Ramp(Waveform):
    """Rises (or falls) steadily from start_s to end_s, constant before and after."""

    start_s: float
    end_s: float
    from_w: float
    to_w: float

    def power_w(self, t_s: Floats) -> Floats:
        """Return the interpolated power."""
        return np.interp(t_s, [self.start_s, self.end_s], [self.from_w, self.to_w])

    def integral_j(self, t_s: Floats) -> Floats:
        """Return the area of triangle and rectangles."""
        inside_s = np.clip(t_s, self.start_s, self.end_s) - self.start_s
        slope = (self.to_w - self.from_w) / (self.end_s - self.start_s)
        after_s = np.maximum(t_s - self.end_s, 0.0)
        before_s = np.minimum(t_s - self.start_s, 0.0)
        ramp_j = self.from_w * inside_s + 0.5 * slope * inside_s * inside_s
        return self.from_w * before_s + ramp_j + self.to_w * after_s


@dataclass(frozen=True)
class Noise(Waveform):
    """Steps of random height, each `step_s` long: noise whose bandwidth an instrument sees all of. Repeats after `steps`."""

    mean_w: float
    sd_w: float
    step_s: float
    seed: int
    steps: int = 4096
    _levels: Floats = field(init=False, repr=False, compare=False)
    _sums: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels = np.random.default_rng(self.seed).normal(self.mean_w, self.sd_w, self.steps)
        object.__setattr__(self, "_levels", np.maximum(levels, 0.0))
        object.__setattr__(self, "_sums", np.concatenate(([0.0], np.cumsum(self._levels))))

    def power_w(self, t_s: Floats) -> Floats:
        """Return the level of the step."""
        step = np.floor(t_s / self.step_s).astype(np.int64)
        return self._levels[step % self.steps]

    def integral_j(self, t_s: Floats) -> Floats:
        """Return whole steps and the part of the last."""
        position = t_s / self.step_s
        step = np.floor(position).astype(np.int64)
        rounds, place = np.divmod(step, self.steps)
        whole = rounds * self._sums[-1] + self._sums[place]
        integral: Floats = (whole + (position - step) * self._levels[place]) * self.step_s
        return integral


@dataclass(frozen=True)
class During(Waveform):
    """One power between two times, another before and after: a run between two idle times."""

    start_s: float
    end_s: float
    inside: Waveform
    outside: Waveform

    def power_w(self, t_s: Floats) -> Floats:
        """Return the power of whichever applies."""
        is_inside = (t_s >= self.start_s) & (t_s < self.end_s)
        return np.where(is_inside, self.inside.power_w(t_s), self.outside.power_w(t_s))

    def integral_j(self, t_s: Floats) -> Floats:
        """Return the outside's integral with the inside's in its place."""
        held_s = np.clip(t_s, self.start_s, self.end_s)
        origin_s = np.full_like(t_s, self.start_s)
        inside_j = self.inside.integral_j(held_s) - self.inside.integral_j(origin_s)
        missing_j = self.outside.integral_j(held_s) - self.outside.integral_j(origin_s)
        return self.outside.integral_j(t_s) - missing_j + inside_j
