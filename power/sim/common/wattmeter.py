"""What simulated plugs and servers measure: a power averaged over each renewal, and an energy counted up to the last one."""

from __future__ import annotations

import math

import numpy as np

from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.timebase import Timebase

COUNTED_BEFORE_J = 4.4e7


class Wattmeter:
    """Renews its values every `update_s`, at a phase of its own; `seed` draws a specimen within the limits of error.

    gain, offset_w   limits of error: ±(gain × reading + offset_w)
    """

    def __init__(
        self,
        load: Load,
        timebase: Timebase,
        faults: Faults,
        seed: int | None,
        *,
        gain: float,
        offset_w: float,
        update_s: float,
    ) -> None:
        self._load, self._timebase, self._faults, self._update_s = load, timebase, faults, update_s
        self._rng = np.random.default_rng(0 if seed is None else seed)
        drawn = (0.0, 0.0, 0.0) if seed is None else self._rng.uniform(-1.0, 1.0, 3)
        self._gain, self._offset_w = float(drawn[0]) * gain, float(drawn[1]) * offset_w
        self._origin_s = timebase.now_ns() / 1e9 - (1.5 + 0.5 * float(drawn[2])) * update_s

    def energy_j(self) -> float:
        """Return what was counted up to the last renewal."""
        return COUNTED_BEFORE_J + self._read_j(self._origin_s, self._renewed_s())

    def power_w(self) -> float:
        """Return the mean power of the last renewal's interval."""
        end_s = self._renewed_s()
        power_w = self._read_j(end_s - self._update_s, end_s) / self._update_s
        power_w += float(self._rng.normal(0.0, 1.0)) * self._faults.noise_w
        return min(power_w, self._faults.clip_w) if self._faults.clip_w else power_w

    @property
    def voltage_v(self) -> float:
        """The supply's voltage."""
        return self._load.supply_v

    def _renewed_s(self) -> float:
        past_s = self._timebase.now_ns() / 1e9 - self._origin_s
        return self._origin_s + math.floor(past_s / self._update_s + 1e-9) * self._update_s

    def _read_j(self, start_s: float, end_s: float) -> float:
        faults, span_s = self._faults, end_s - start_s
        middle_s = 0.5 * (start_s + end_s) - self._origin_s
        true_j = self._load.waveform.energy_j(start_s, end_s)
        wrong_j = faults.distorted(true_j / span_s, middle_s) * span_s
        return wrong_j * (1.0 + self._gain) + self._offset_w * span_s
