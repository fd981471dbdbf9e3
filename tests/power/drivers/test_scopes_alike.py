"""What every oscilloscope of the catalogue does on its simulator: the marker, what is off the screen, runs that are given up."""

from __future__ import annotations

import numpy as np
import pytest

from power.catalogue import make_meter
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.scope import SimulatedScope, Wiring
from power.sim.common.waveforms import Constant, Square
from power.sim.keysight_infiniivision import SimulatedInfiniiVision
from power.sim.rigol_ds1000z import SimulatedRigolDs1000z
from power.sim.rigol_mso5000 import SimulatedRigolMso5000
from power.sim.siglent_sds import SimulatedSiglentSds
from power.sim.siglent_sds_legacy import SimulatedSiglentSdsLegacy
from power.sim.tektronix_mdo4000 import SimulatedMdo4000
from tests.power.scpi_trouble import recorded, recording

EIGHT_ROWS = [
    SimulatedRigolDs1000z,
    SimulatedRigolMso5000,
    SimulatedSiglentSds,
    SimulatedSiglentSdsLegacy,
]
ALL = [*EIGHT_ROWS, SimulatedInfiniiVision, SimulatedMdo4000]
RANGES: dict[str, object] = {
    "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
    "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.05},
}


@pytest.mark.parametrize("kind", ALL)
def test_the_marker_is_where_it_was(kind: type[SimulatedScope]) -> None:
    time = VirtualTime()
    wiring = Wiring(high_s=((1003.0, 1005.0),))
    source = kind(Load(Constant(4.0)), timebase=time, wiring=wiring, seed=5)
    options: dict[str, object] = {"marker": {"channel": 4, "level_v": 1.5}, "rate_hz": 1000.0}
    with recording(source, time, options, 10.0, plan_s=10.0) as meter:
        trace = meter.stop()
    assert trace.marker is not None
    edges = trace.t_s[np.flatnonzero(np.diff(trace.marker.astype(int)))]
    assert edges == pytest.approx([1003.0, 1005.0], abs=trace.clock_bound_s + 2e-3)
    if kind is SimulatedRigolDs1000z:
        assert trace.interval_s == pytest.approx(12.0 / 30_000)


@pytest.mark.parametrize("kind", EIGHT_ROWS)
def test_what_is_over_the_range_is_marked(kind: type[SimulatedScope]) -> None:
    trace, _ = recorded(kind, {}, Faults(clip_w=2.0), duration_s=300.0)
    assert trace.clipped_count == len(trace)


@pytest.mark.parametrize("kind", [SimulatedInfiniiVision, SimulatedMdo4000])
def test_what_is_off_the_screen_is_said_to_be_clipped(kind: type[SimulatedScope]) -> None:
    time = VirtualTime()
    source = kind(Load(Square(2.0, 20.0, 0.5)), timebase=time)
    with recording(source, time, {**RANGES, "rate_hz": 1000.0}, 8.0, plan_s=8.0) as meter:
        trace = meter.stop()
    assert trace.clipped is not None
    assert trace.clipped.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ALL)
def test_a_run_that_is_given_up_leaves_it_stopped(kind: type[SimulatedScope]) -> None:
    time = VirtualTime()
    with kind(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("m", kind.driver, simulator.options, timebase=time).open()
        meter.plan(10.0)
        meter.start()
        time.sleep(1.0)
        meter.close()
        with make_meter("m", kind.driver, simulator.options, timebase=time):
            assert simulator.state == "stopped"
