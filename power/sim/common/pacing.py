"""Samples of a simulated instrument that paces itself: made when they are asked for, kept in a memory that can run over."""

from __future__ import annotations

import math

import numpy as np

from power.sim.common.sensor import Sensor
from power.trace import Flags, Floats


class Paced:
    """Sample k is the mean over averaging_s from start + k × interval on (or, with 0, the value then).

    ppm      how fast its clock runs
    memory   samples that it holds; more overwrite the oldest, which `has_lost` tells
    most     after so many it stops by itself
    """

    def __init__(
        self,
        sensor: Sensor,
        interval_s: float,
        averaging_s: float = 0.0,
        *,
        ppm: float = 0.0,
        memory: int | None = None,
        most: int | None = None,
    ) -> None:
        self._sensor, self._averaging_s = sensor, averaging_s
        self._interval_s = interval_s / (1.0 + ppm * 1e-6)
        self._memory, self._most = memory, most
        self._start_s = sensor.now_s()
        self._end_s = math.inf
        self._taken = 0
        self.has_lost = False

    def stop(self) -> None:
        """Sample no more; what is in the memory stays."""
        self._end_s = min(self._end_s, self._sensor.now_s())

    @property
    def made(self) -> int:
        """Samples taken so far."""
        past_s = min(self._sensor.now_s(), self._end_s) - self._start_s - self._averaging_s
        made = 0 if past_s < 0.0 else math.floor(past_s / self._interval_s + 1e-6) + 1
        return made if self._most is None else min(made, self._most)

    @property
    def available(self) -> int:
        """Samples in the memory."""
        waiting = self.made - self._taken
        if self._memory is not None and waiting > self._memory:
            self.has_lost = True
            self._taken += waiting - self._memory
            waiting = self._memory
        return waiting

    def take(self, count: int) -> tuple[Floats, Floats]:
        """Return voltages and currents of the oldest samples, and forget those."""
        count = min(count, self.available)
        index = np.arange(self._taken, self._taken + count, dtype=np.float64)
        start_s: Floats = self._start_s + index * self._interval_s
        self._taken += count
        if self._averaging_s > 0.0:
            return self._sensor.mean(start_s, start_s + self._averaging_s)
        return self._sensor.at(start_s)


def at_limit(sensor: Sensor, current_a: Floats) -> Flags:
    """Return which currents, as read, are at the limit of power that the faults ask for."""
    seen_a = (current_a - sensor.current.offset) / (1.0 + sensor.current.gain)
    return sensor.is_clipped(seen_a * sensor.load.supply_v * (1.0 + 1e-9))


def topped(sensor: Sensor, current_a: Floats, most_a: float) -> Floats:
    """Return currents as read on a range that shows no more than `most_a`; what the faults clip is there."""
    return np.where(at_limit(sensor, current_a), most_a, np.minimum(current_a, most_a))


def clock_error_ppm(seed: int | None, limit_ppm: float, wanted_ppm: float) -> float:
    """Return how fast a specimen's clock runs: within its limit, plus what was asked for."""
    own_ppm = 0.0 if seed is None else float(np.random.default_rng((seed, 1)).uniform(-limit_ppm, limit_ppm))
    return own_ppm + wanted_ppm
