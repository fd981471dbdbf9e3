"""A simulated Rigol MSO5104."""

from __future__ import annotations

from power.drivers.common.scope import ScopeModel
from power.drivers.rigol_mso5000 import DEPTHS, RigolMso5000
from power.sim.common.rigol import SimulatedRigol
from power.sim.common.scpi import ScpiError


class SimulatedRigolMso5000(SimulatedRigol):
    """Four channels, 100 M points."""

    driver = "rigol-mso5000"
    driver_class = RigolMso5000
    idn = "RIGOL TECHNOLOGIES,MSO5104,{serial},00.01.03.03.00"
    model = ScopeModel("MSO5104", 4, (1_000, 100_000_000), 4e9, 200)
    clock_ppm = 10.0

    def _parsed_depth(self, argument: str) -> int:
        for points, name in DEPTHS.items():
            if argument.upper() == name.upper():
                return points
        raise ScpiError(-224, f"Illegal parameter value; {argument}")

    def _shown_depth(self, points: int) -> str:
        # The guide shows "1M"; instruments were seen to answer this.
        return f"{points:.4E}"
