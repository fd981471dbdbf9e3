"""What simulated multimeters share: one function, one range, and what they are connected to."""

from __future__ import annotations

import numpy as np

from power.drivers.common.multimeter import Ranges, Wiring
from power.drivers.common.scpi_instrument import INFINITY
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.pacing import at_limit
from power.sim.common.sensor import Sensor
from power.specification import EXACT, Specified
from power.timebase import Timebase
from power.trace import Floats

OVERLOAD = INFINITY


def fitting_range(ranges: Ranges, load: Load) -> float:
    """Return the current range that takes 20 W from the load's supply."""
    return next((range_ for range_ in ranges if range_ * load.supply_v >= 20.0), max(ranges))


class MultimeterInput:
    """What is read of a load through its wiring: the supply and the shunt err within the tolerances stated for them.

    `limits` are those of the multimeter's range.
    """

    def __init__(
        self,
        load: Load,
        timebase: Timebase,
        wiring: Wiring,
        limits: Specified | None,
        *,
        faults: Faults,
        seed: int | None,
    ) -> None:
        self._wiring = wiring
        per_ampere = wiring.shunt_ohm or 1.0
        of_reading, offset = (0.0, 0.0) if limits is None else (limits.of_reading, limits.offset)
        supply, shunt = 0.0, 0.0
        if seed is not None:
            rng = np.random.default_rng((seed, 2))
            supply, shunt = (
                float(rng.uniform(-limit, limit)) if limit else 0.0
                for limit in (wiring.supply_tolerance, wiring.shunt_tolerance)
            )
        real = Load(load.waveform, load.supply_v * (1.0 + supply))
        self._shunt_ohm = None if wiring.shunt_ohm is None else wiring.shunt_ohm * (1.0 + shunt)
        current = Specified(of_reading, offset / per_ampere)
        self.sensor = Sensor(real, timebase, voltage=EXACT, current=current, faults=faults, seed=seed)

    def readings(self, current_a: Floats) -> Floats:
        """Return what the display shows for currents seen by the sensor; 9.9E37 over the range."""
        values = current_a if self._shunt_ohm is None else current_a * self._shunt_ohm
        over = np.abs(values) > 1.2 * self._wiring.range_
        over |= at_limit(self.sensor, current_a)
        return np.where(over, OVERLOAD, values)
