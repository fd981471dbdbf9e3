"""Rigol oscilloscopes against the simulated ones: energies, the marker, trouble on the line."""

from __future__ import annotations

import pytest

from power.catalogue import make_meter
from power.drivers.common.scope import Mode
from power.errors import OptionInvalid
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.rigol import SimulatedRigol
from power.sim.common.waveforms import Constant
from power.sim.rigol_ds1000z import SimulatedRigolDs1000z
from power.sim.rigol_mso5000 import SimulatedRigolMso5000
from tests.power.scpi_trouble import (
    one_sentence,
)
from tests.power.trials import (
    Timing,
    check_coverage,
    specimens,
)


@pytest.mark.parametrize(
    ("kind", "timing", "acquisition", "rate_hz"),
    [
        (SimulatedRigolDs1000z, Timing(3.0, 12.0, 1.0), "hires", 2500.0),
        (SimulatedRigolDs1000z, Timing(3.0, 12.0, 1.0), "sample", 2500.0),
        (SimulatedRigolMso5000, Timing(2.5, 10.0, 1.0), "hires", 5000.0),
    ],
)
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(
    kind: type[SimulatedRigol], timing: Timing, acquisition: Mode, rate_hz: float
) -> None:
    check_coverage(
        kind.driver,
        specimens(kind),
        timing=timing,
        options={"acquisition": acquisition, "rate_hz": rate_hz},
    )


def test_a_recording_that_fits_no_record_says_what_would() -> None:
    time = VirtualTime()
    with SimulatedRigolDs1000z(Load(Constant(3.0)), timebase=time) as simulator:
        settings = {**simulator.options, "rate_hz": 1e6}
        meter = make_meter("m", "rigol-ds1000z", settings, timebase=time).open()
        with pytest.raises(OptionInvalid, match="a DS1104Z holds 6000000: set rate_hz to") as caught:
            meter.plan(60.0)
        one_sentence(caught.value)
        with pytest.raises(OptionInvalid, match="600 s"):
            meter.plan(700.0)
        meter.close()
