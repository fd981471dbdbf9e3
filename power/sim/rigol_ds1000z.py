"""A simulated Rigol DS1104Z."""

from __future__ import annotations

from power.drivers.common.scope import ScopeModel
from power.drivers.rigol_ds1000z import RigolDs1000z
from power.sim.common.rigol import SimulatedRigol


class SimulatedRigolDs1000z(SimulatedRigol):
    """Four channels, 12 M points."""

    driver = "rigol-ds1000z"
    driver_class = RigolDs1000z
    idn = "RIGOL TECHNOLOGIES,DS1104Z,{serial},00.04.04.SP4"
    model = ScopeModel("DS1104Z", 4, (12_000, 12_000_000), 5e8, 200)
    clock_ppm = 25.0
