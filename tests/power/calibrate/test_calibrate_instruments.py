"""Simulated instruments of every kind, wrong by 2 % and 50 mW, calibrated over their real protocol, then right."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from power import calibrate
from power.catalogue import DRIVERS, make_meter
from power.meter import Meter
from power.sim.common.base import Simulator
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Waveform
from power.trace import Floats
from tests.power.calibrate.bench import DAY, LOADS_W, FakeMeter, conditions
from tests.power.calibrate.bench import Load as Knob

SETTINGS: dict[str, dict[str, object]] = {
    "yokogawa-wt310": {"voltage_range_v": 15.0, "current_range_a": 2.0},  # polled
    "scpi": {},
    "keysight-34465a": {},  # streamed
    "rs-ngu": {},
    "tektronix-mdo4000": {},  # one record
    "siglent-sds": {},
    "rest": {},  # HTTP
    "shelly": {},  # a counter behind a broker
}
READ_S = {"shelly": 600.0}


@dataclass(frozen=True)
class Turned(Waveform):
    """A load set by the knob; it has settled whenever it is read."""

    knob: Knob

    def power_w(self, t_s: Floats) -> Floats:
        """Return what is set."""
        return 0.0 * t_s + self.knob.power_w

    def integral_j(self, t_s: Floats) -> Floats:
        """Return the energy as if it had always been so."""
        return t_s * self.knob.power_w


def made(name: str, simulator: Simulator, time: VirtualTime) -> Meter:
    options = {**simulator.options, **SETTINGS[name], "simulated": True}
    return make_meter("m1", name, options, timebase=time)


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.slow
def test_wrong_before_and_right_after(name: str) -> None:
    time, knob, read_s = VirtualTime(), Knob(), READ_S.get(name, 20.0)
    simulated = DRIVERS[name].simulated()
    faults = Faults(gain=-0.02, offset_w=0.05, noise_w=0.003)
    load = Load(Turned(knob), simulated.supply_v)
    with ExitStack() as stack:
        simulator = stack.enter_context(simulated(load, timebase=time, faults=faults))
        reference = stack.enter_context(FakeMeter("ref", knob, time, noise_w=5e-4, serial="R"))
        meter = stack.enter_context(made(name, simulator, time))
        bench = calibrate.Bench(meter, reference, duration_s=read_s, settle_s=5.0, timebase=time)

        def measure(step: calibrate.Step) -> calibrate.Point:
            knob.power_w = step.load_w or 0.0
            return bench.compare(knob.power_w)

        guide = calibrate.Guide(calibrate.Plan(LOADS_W))
        found = calibrate.walk(guide, measure, repeats=6)
        subject, stated = calibrate.subject_of(meter), calibrate.Reference("ref", "R", None, 2e-4, 3e-4)
        certificate = guide.certify(subject, stated, conditions())
        meter.close()
        knob.power_w = 3.3
        again = stack.enter_context(calibrate.CalibratedMeter(made(name, simulator, time), certificate, DAY))
        (reading,) = calibrate.measure(again, duration_s=read_s, settle_s=5.0, timebase=time)
        u_w = calibrate.u_with_accuracy_w(again, reading)
    assert subject.is_simulated
    u_gain = math.sqrt(found.covariance[0][0])
    assert abs(found.gain - 1.0 / 0.98) < 3.0 * u_gain + 1e-3
    assert u_w is not None
    assert abs(reading.mean_w - 3.3) < 3.0 * u_w
    assert reading.calibration == certificate.id
