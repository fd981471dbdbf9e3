"""What a simulated instrument sees of its load: the truth with the instrument's errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.specification import Specified
from power.timebase import Timebase
from power.trace import Floats


@dataclass(frozen=True, slots=True)
class ChannelError:
    """The error of one quantity of one specimen: reading = true × (1 + gain) + offset."""

    gain: float = 0.0
    offset: float = 0.0

    @classmethod
    def within(cls, limits: Specified, rng: np.random.Generator) -> ChannelError:
        """Draw a specimen that keeps its data sheet: both uniform within the limits."""
        return cls(
            limits.of_reading * float(rng.uniform(-1.0, 1.0)), limits.offset * float(rng.uniform(-1.0, 1.0))
        )

    def applied(self, true: Floats) -> Floats:
        """Return what is read."""
        return true * (1.0 + self.gain) + self.offset


def stated(voltage: Specified, current: Specified, supply_v: float) -> dict[str, float]:
    """Return the limits of error of a power as a user states them in farm.toml: `accuracy`."""
    gain = voltage.of_reading + voltage.offset / supply_v + current.of_reading
    return {"gain": gain, "offset_w": current.offset * supply_v}


class Sensor:
    """Reads voltage and current of a load, with the errors of one specimen and the faults asked for.

    `seed` draws the specimen and its noise; None is a perfect one. `voltage`, `current` are its limits of error.
    """

    def __init__(
        self,
        load: Load,
        timebase: Timebase,
        *,
        voltage: Specified,
        current: Specified,
        faults: Faults,
        seed: int | None = None,
    ) -> None:
        self.load, self._timebase, self.faults = load, timebase, faults
        self._rng = np.random.default_rng(0 if seed is None else seed)
        perfect = seed is None
        self.voltage = ChannelError() if perfect else ChannelError.within(voltage, self._rng)
        self.current = ChannelError() if perfect else ChannelError.within(current, self._rng)
        self._origin_s = timebase.now_ns() / 1e9

    def now_s(self) -> float:
        """Return the host's time."""
        return self._timebase.now_ns() / 1e9

    def at(self, t_s: Floats) -> tuple[Floats, Floats]:
        """Return voltages and currents as sampled at these times."""
        return self._seen(t_s, self.load.waveform.power_w(t_s))

    def mean(self, start_s: Floats, end_s: Floats) -> tuple[Floats, Floats]:
        """Return voltages and currents as averaged over each span."""
        return self._seen(end_s, self.load.mean_w(start_s, end_s))

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Return the energy that it counts between two times."""
        volts, amperes = self.mean(np.array([start_s]), np.array([end_s]))
        return float(volts[0] * amperes[0]) * (end_s - start_s)

    def is_clipped(self, power_w: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return where a power is at the limit that was asked for."""
        return power_w >= self.faults.clip_w if self.faults.clip_w else np.zeros(len(power_w), np.bool_)

    def _seen(self, t_s: Floats, true_w: Floats) -> tuple[Floats, Floats]:
        faults, supply_v = self.faults, self.load.supply_v
        wrong_w = faults.distorted(true_w, t_s - self._origin_s)
        if faults.noise_w:
            wrong_w = wrong_w + self._rng.normal(0.0, faults.noise_w, len(t_s))
        if faults.clip_w:
            wrong_w = np.minimum(wrong_w, faults.clip_w)
        volts = self.voltage.applied(np.full_like(t_s, supply_v))
        return volts, self.current.applied(wrong_w / supply_v)
