"""A simulated machine with RAPL: one package with its cores inside, energy counters that wrap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np

from power.sim.common.load import Load
from power.sim.common.onboard import SimulatedTree, TreeSettings

GAIN_LIMIT, OFFSET_LIMIT_W = 0.02, 0.05
"""Limits of error of the specimens; Intel states none."""
RANGE_UJ = 262_143_328_850
UNIT_J = 61e-6
"""Step of the counter (Intel SDM: 2⁻¹⁴ J by default)."""


class SimulatedRapl(SimulatedTree):
    """The counter of one package. `range_uj` is where it wraps."""

    driver = "rapl"
    supply_v = 12.0

    def __init__(self, load: Load, *, range_uj: int = RANGE_UJ, **settings: Unpack[TreeSettings]) -> None:
        super().__init__(load, **settings)
        rng = np.random.default_rng(0 if self.seed is None else self.seed)
        gain, offset = (0.0, 0.0) if self.seed is None else map(float, rng.uniform(-1.0, 1.0, 2))
        self._gain, self._offset_w = GAIN_LIMIT * gain, OFFSET_LIMIT_W * offset
        self._range_uj, self._counted_j = range_uj, float(rng.uniform(0.0, range_uj * 1e-6))
        for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core")):
            self.lay(f"sys/class/powercap/{zone}/name", name)
            self.lay(f"sys/class/powercap/{zone}/max_energy_range_uj", range_uj)

    def values(self, begin_s: float, end_s: float) -> Mapping[str, object]:
        """Count on."""
        true_j = self.sensor.energy_j(begin_s, end_s)
        self._counted_j += true_j * (1.0 + self._gain) + self._offset_w * (end_s - begin_s)
        counted_uj = int(int(self._counted_j / UNIT_J) * UNIT_J * 1e6)
        base = "sys/class/powercap"
        return {
            f"{base}/intel-rapl:0/energy_uj": counted_uj % (self._range_uj + 1),
            f"{base}/intel-rapl:0:0/energy_uj": counted_uj * 7 // 10 % (self._range_uj + 1),
        }
