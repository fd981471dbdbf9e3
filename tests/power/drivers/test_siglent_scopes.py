"""Siglent oscilloscopes of both generations against the simulated ones: energies, batches, trouble on the line."""

from __future__ import annotations

import numpy as np
import pytest

from power.catalogue import make_meter
from power.errors import OptionInvalid
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant, Square
from power.sim.siglent_sds import SimulatedSds2000xPlus, SimulatedSiglentSds
from power.sim.siglent_sds_legacy import SimulatedSiglentSdsLegacy
from tests.power.scpi_trouble import (
    one_sentence,
)
from tests.power.trials import (
    Timing,
    check_coverage,
    specimens,
)

Kind = type[SimulatedSiglentSds] | type[SimulatedSiglentSdsLegacy]
BOTH = [SimulatedSiglentSds, SimulatedSiglentSdsLegacy]
SAMPLES: dict[str, object] = {"acquisition": "sample", "rate_hz": 2000.0}
LATE_S = 300.0
"""After the end of any record of these tests."""


@pytest.mark.parametrize(
    ("kind", "timing"),
    [
        (SimulatedSiglentSds, Timing(2.5, 10.0, 1.0)),
        (SimulatedSds2000xPlus, Timing(2.5, 10.0, 1.0)),
        (SimulatedSiglentSdsLegacy, Timing(3.0, 17.0, 1.0)),
    ],
)
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(kind: Kind, timing: Timing) -> None:
    check_coverage(kind.driver, specimens(kind), timing=timing, options=SAMPLES)


@pytest.mark.parametrize("most", [100_000, 99_999, 30_000])
def test_batches_join_without_a_seam(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedSiglentSds, "most_points", most)
    monkeypatch.setattr("power.drivers.siglent_sds_legacy.BATCH_POINTS", most)
    for kind, length in ((SimulatedSiglentSds, 100_000), (SimulatedSiglentSdsLegacy, 70_000)):
        time = VirtualTime()
        with kind(Load(Square(2.0, 6.0, 0.7)), timebase=time) as simulator:
            options = {**simulator.options, "rate_hz": 2000.0}
            with make_meter("m", kind.driver, options, timebase=time) as meter:
                meter.plan(19.0)
                meter.start()
                time.sleep(19.0)
                trace = meter.stop()
        assert len(trace) == length
        assert trace.power_w is not None
        true_w = np.where(np.mod(0.7 * trace.t_s, 1.0) < 0.5, 6.0, 2.0)
        assert np.mean(np.abs(trace.power_w - true_w) < 0.5) > 0.999


def test_averages_are_refused() -> None:
    time = VirtualTime()
    with SimulatedSiglentSds(Load(Constant(3.0)), timebase=time) as simulator:
        settings = {**simulator.options, "acquisition": "hires"}
        meter = make_meter("m", "siglent-sds", settings, timebase=time).open()
        with pytest.raises(OptionInvalid, match='set acquisition = "sample"') as caught:
            meter.plan(10.0)
        meter.close()
    one_sentence(caught.value)
