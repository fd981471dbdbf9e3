"""Rigol oscilloscopes: dialogue, preamble, batches, limits of the models, and energies of the simulated ones."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from power.sim.base import Simulator
from power.sim.load import Load
from power.sim.rigol_ds1000z import SimulatedRigolDs1000z
from power.sim.rigol_mso5000 import SimulatedRigolMso5000
from power.timebase import Timebase
from tests.power.trials import Timing, check_coverage


def made(driver_name: str, load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
    kind = SimulatedRigolDs1000z if driver_name == "rigol-ds1000z" else SimulatedRigolMso5000
    return kind(load, timebase=timebase, seed=seed)


@pytest.mark.parametrize(
    ("driver_name", "timing", "acquisition", "rate_hz"),
    [
        ("rigol-ds1000z", Timing(3.0, 12.0, 1.0), "hires", 2500.0),
        ("rigol-ds1000z", Timing(3.0, 12.0, 1.0), "sample", 2500.0),
        ("rigol-mso5000", Timing(2.5, 10.0, 1.0), "hires", 5000.0),
    ],
)
def test_energies_lie_within_their_uncertainty(
    driver_name: str, timing: Timing, acquisition: str, rate_hz: float
) -> None:
    check_coverage(
        driver_name,
        lambda load, timebase, seed: made(driver_name, load, timebase, seed),
        timing=timing,
        options={"acquisition": acquisition, "rate_hz": rate_hz},
    )
