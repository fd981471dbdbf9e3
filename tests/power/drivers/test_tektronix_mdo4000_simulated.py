"""The Tektronix MDO4000 against the simulated one: its numbers, its marker, its failures."""

from __future__ import annotations

import time as clock
from contextlib import AbstractContextManager

import numpy as np
import pytest

from power.catalogue import make_meter
from power.errors import MeterStateError, OptionInvalid
from power.meters.scope import ScopeMeter
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.scope import Wiring
from power.sim.common.waveforms import Constant, Square
from power.sim.tektronix_mdo4000 import SimulatedMdo4000
from power.timebase import Timebase
from power.trace import Window
from tests.power.trials import Levels, Timing, check_coverage, check_within, run_trial, specimens

RANGES: dict[str, object] = {
    "rate_hz": 1000.0,
    "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
    "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.05},
}


@pytest.mark.parametrize("settings", [{}, {"acquisition": "sample", "rate_hz": 5000.0}])
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(settings: dict[str, object]) -> None:
    check_coverage(
        "tektronix-mdo4000",
        specimens(SimulatedMdo4000),
        options={**RANGES, **settings},
        timing=Timing(2.0, 6.0, 0.5),
    )


@pytest.mark.parametrize(
    "wiring",
    [
        Wiring(sense="after", shunt_ohm=0.02),
        Wiring(clamp_v_per_a=0.1, turns=2),
        Wiring(voltage=None),
    ],
    ids=["sense after the shunt", "clamp", "known supply"],
)
def test_energies_of_other_probings(wiring: Wiring) -> None:
    def wired(load: Load, timebase: Timebase, seed: int) -> AbstractContextManager[Simulator]:
        # A known supply is known at its own side of the shunt.
        return SimulatedMdo4000(load, timebase=timebase, seed=seed, wiring=wiring)

    options: dict[str, object] = {"rate_hz": 1000.0}
    if wiring.voltage is None:
        current = {"channel": 2, "shunt_ohm": wiring.shunt_ohm, "sense": "after", "range_v": 0.05}
        options |= {"supply_v": 5.0, "supply_tolerance": 0.001, "current": current}
    for seed in range(10):
        outcome = run_trial(
            "tektronix-mdo4000", wired, seed, levels=Levels(), timing=Timing(2.0, 6.0, 0.5), options=options
        )
        check_within(outcome)


def opened(simulator: SimulatedMdo4000, time: VirtualTime, **settings: object) -> ScopeMeter:
    meter = make_meter(
        "scope", "tektronix-mdo4000", {**simulator.options, **RANGES, **settings}, timebase=time
    ).open()
    assert isinstance(meter, ScopeMeter)
    return meter


def test_the_marker_and_the_start_are_where_they_were() -> None:
    time = VirtualTime()
    wiring = Wiring(high_s=((1003.0, 1005.0),))
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time, wiring=wiring, seed=5) as simulator:
        meter = opened(simulator, time, marker={"channel": 4, "level_v": 1.4})
        meter.plan(9.0)
        meter.start()
        time.sleep(9.0)
        trace = meter.stop()
        capabilities = meter.capabilities
        meter.close()
    assert trace.marker is not None
    edges = trace.t_s[np.flatnonzero(np.diff(trace.marker.astype(int)))]
    assert edges == pytest.approx([1003.0, 1005.0], abs=trace.clock_bound_s + 2e-3)
    assert trace.t_s[0] == pytest.approx(1000.0, abs=2e-3)
    assert trace.reading == "average"
    assert capabilities.kind == "simulated"
    assert capabilities.reading == "average"
    assert capabilities.resolution_w == pytest.approx(5.0 * 0.05 / 250 / 0.01, rel=0.1)
    assert meter.range_text == "2 V / 5 A"


def test_the_instrument_is_left_as_it_was_found() -> None:
    time = VirtualTime()
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time) as simulator:
        meter = opened(simulator, time)
        meter.plan(9.0)
        meter.start()
        meter.close()
        until_s = clock.monotonic() + 5.0
        while simulator.received[-1] != "HEADer 1" and clock.monotonic() < until_s:
            clock.sleep(0.01)  # nobody waits for an answer when a line is closed
        assert simulator.received[-3:] == ["ACQuire:STATE STOP", "ACQuire:STOPAfter RUNSTop", "HEADer 1"]
        assert simulator.state == "stopped"


def test_a_record_has_to_be_planned() -> None:
    time = VirtualTime()
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time) as simulator:
        meter = opened(simulator, time)
        with pytest.raises(MeterStateError, match="call plan before start"):
            meter.start()
        with pytest.raises(OptionInvalid, match="longest of which takes 10000 s; for longer runs"):
            meter.plan(12_000.0)
        meter.close()
        meter = opened(simulator, time, rate_hz=10_000.0)
        words = r"20000000: set rate_hz to 5000 or less, whose averages miss nothing, or measure no longer than 1\.98e\+03 s"
        with pytest.raises(OptionInvalid, match=words):
            meter.plan(3000.0)
        meter.close()


def test_faults_of_the_load_show_in_the_trace() -> None:
    time = VirtualTime()
    faults = Faults(clip_w=3.0)
    with SimulatedMdo4000(Load(Constant(4.0)), timebase=time, faults=faults) as simulator:
        meter = opened(simulator, time)
        meter.plan(5.0)
        meter.start()
        time.sleep(5.0)
        trace = meter.stop()
        meter.close()
    assert trace.clipped_count == len(trace)


def test_a_clock_that_runs_wrong_stays_within_its_bound() -> None:
    time = VirtualTime()
    power = Square(2.0, 6.0, 0.1)
    with SimulatedMdo4000(Load(power), timebase=time, seed=8, faults=Faults(clock_ppm=-3.0)) as simulator:
        meter = opened(simulator, time)
        meter.plan(39.0)
        meter.start()
        time.sleep(39.0)
        trace = meter.stop()
        meter.close()
    edge = np.flatnonzero(np.diff(trace.power_w if trace.power_w is not None else []) < -2.0)[-1]
    true_s = np.floor(trace.t_s[edge] / 10.0 + 0.25) * 10.0 + 5.0
    assert trace.t_s[edge] == pytest.approx(true_s, abs=trace.clock_bound_s + 2e-3)
    assert Window(1001.0, 1039.0).duration_s < trace.span.duration_s
