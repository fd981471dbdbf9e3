"""Siglent oscilloscopes: dialogue, preamble, batches, limits of the models, and energies of the simulated ones."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from power.sim.base import Simulator
from power.sim.load import Load
from power.sim.siglent_sds import SimulatedSds2000xPlus, SimulatedSiglentSds
from power.sim.siglent_sds_legacy import SimulatedSiglentSdsLegacy
from power.timebase import Timebase
from tests.power.trials import Timing, check_coverage

Kind = type[SimulatedSiglentSds] | type[SimulatedSiglentSdsLegacy]


@pytest.mark.parametrize(
    ("kind", "timing"),
    [
        (SimulatedSiglentSds, Timing(2.5, 10.0, 1.0)),
        (SimulatedSds2000xPlus, Timing(2.5, 10.0, 1.0)),
        (SimulatedSiglentSdsLegacy, Timing(3.0, 17.0, 1.0)),
    ],
)
def test_energies_lie_within_their_uncertainty(kind: Kind, timing: Timing) -> None:
    def made(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        return kind(load, timebase=timebase, seed=seed)

    check_coverage(kind.driver, made, timing=timing, options={"acquisition": "sample", "rate_hz": 2000.0})
