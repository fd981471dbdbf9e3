"""Hailo modules: energies, the protection that measuring switches off, and how it fails."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from power.catalogue import make_meter
from power.drivers.hailo import Hailo
from power.errors import InstrumentError, LinkLost, MeterUnavailable, NoReading, PowerError
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.hailo import GAIN_LIMIT, OFFSET_LIMIT_A, AveragingFactor, HailoRTException, SimulatedHailo
from tests.power.fakes.script import Script
from tests.power.trials import Timing, check_coverage, check_in_real_time, specimens

LIMITS: dict[str, object] = {
    "averaging": 16,
    "accuracy": {"gain": GAIN_LIMIT, "offset_w": 3.3 * OFFSET_LIMIT_A},
}


def protected(simulator: SimulatedHailo) -> bool:
    return simulator.is_protected


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage("hailo", specimens(SimulatedHailo), timing=Timing(4.0, 12.0, 1.0), options=LIMITS)


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time(
        "hailo", specimens(SimulatedHailo), timing=Timing(1.0, 1.5, 0.25), options=LIMITS, seed=3
    )


def test_the_protection_is_off_while_it_measures_and_no_longer() -> None:
    time = VirtualTime()
    with SimulatedHailo(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("h", "hailo", simulator.options, timebase=time).open()
        assert protected(simulator)
        assert meter.identity.model == "HAILO-8 AI ACC M.2 M KEY MODULE EXT TEMP"
        assert meter.capabilities.scope == "module"
        meter.start()
        assert not protected(simulator)
        time.sleep(5.0)
        trace = meter.stop()
        assert protected(simulator)
        meter.start()
        meter.close()  # in mid-run
        assert protected(simulator)
        assert not simulator.is_open
    assert trace.power_w is not None
    assert trace.lost <= 1  # the last reading may come before a value is finished
    assert trace.power_w == pytest.approx([3.0] * len(trace))
    assert trace.averaging_s == pytest.approx(2 * 2 * 1.1e-3 * 256)


def test_dialogue() -> None:
    """The exact calls, in order; `scan` and `Device` are HailoRT's, all others are of Device.control."""
    time = VirtualTime()
    board = SimpleNamespace(
        product_name="HAILO-8\0", serial_number="HLLWM2A2331\0", firmware_version="4.20.0"
    )
    script = Script(
        [
            ("scan", (), {}, ["0000:01:00.0"]),
            ("Device", ("0000:01:00.0",), {}, None),
            ("identify", (), {}, board),
            ("stop_power_measurement", (), {}, None),
            ("set_power_measurement", (), {}, None),
            ("start_power_measurement", (), {"averaging_factor": AveragingFactor.AVERAGE_64}, None),
            ("get_power_measurement", (), {"should_clear": True}, reading(2.5, 3)),
            ("get_power_measurement", (), {"should_clear": True}, reading(0.0, 0)),
            ("stop_power_measurement", (), {}, None),
            ("release", (), {}, None),
        ]
    )
    with script.module(
        "wattfarm_scripted_hailo", HailoRTException=HailoRTException, AveragingFactor=AveragingFactor
    ) as module:
        vars(module)["Device"] = scripted_device(script)
        instrument = Hailo(time, averaging=64, module=module.__name__)
        identity = instrument.connect()
        assert (identity.model, identity.serial, identity.firmware) == ("HAILO-8", "HLLWM2A2331", "4.20.0")
        assert not identity.is_simulated
        instrument.begin()
        assert instrument.read().power_w == 2.5
        assert instrument.read().power_w is None
        instrument.end()
        instrument.make_safe()
        instrument.disconnect()
    script.check_used_up()


def reading(average_w: float, count: int) -> SimpleNamespace:
    return SimpleNamespace(average_value=average_w, total_number_of_samples=count)


def scripted_device(script: Script) -> type:
    class Device:
        def __init__(self, identifier: str) -> None:
            script.call("Device", identifier)
            self.control = script

        def release(self) -> None:
            script.call("release")

        scan = staticmethod(lambda: script.call("scan"))

    return Device


def test_a_stop_that_fails_once_is_tried_again() -> None:
    time = VirtualTime()
    with SimulatedHailo(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("h", "hailo", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(5.0)
        simulator.broken_stops = 2
        with pytest.raises(InstrumentError, match="HAILO_TIMEOUT"):
            meter.stop()
        assert not protected(simulator)
        meter.close()
        assert protected(simulator)


def test_readings_without_a_finished_value_are_none() -> None:
    time = VirtualTime()
    faults = Faults(silent_after=3)
    with (
        SimulatedHailo(Load(Constant(3.0)), timebase=time, faults=faults) as simulator,
        make_meter("h", "hailo", simulator.options, timebase=time) as meter,
    ):
        meter.start()
        time.sleep(10.0)
        trace = meter.stop()
    assert trace.power_w is not None
    assert trace.lost > 5
    assert (trace.power_w > 0.0).all()


def test_a_module_that_never_finishes_a_value_yields_none() -> None:
    time = VirtualTime()
    with (
        SimulatedHailo(Load(Constant(3.0)), timebase=time, faults=Faults(delay_s=60.0)) as simulator,
        make_meter("h", "hailo", simulator.options, timebase=time) as meter,
    ):
        meter.start()
        time.sleep(5.0)
        with pytest.raises(NoReading, match="no reading at all"):
            meter.stop()


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        (Faults(disconnect_after=3), LinkLost, "is gone"),
        (Faults(garbage_after=3), InstrumentError, "HAILO_INTERNAL_FAILURE"),
    ],
)
def test_what_breaks_in_mid_run(faults: Faults, kind: type[PowerError], words: str) -> None:
    time = VirtualTime()
    with SimulatedHailo(Load(Constant(3.0)), timebase=time, faults=faults) as simulator:
        meter = make_meter("h", "hailo", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(10.0)
        with pytest.raises(kind, match=words):
            meter.stop()
        meter.close()
        assert simulator.is_protected


def test_switched_off_in_mid_run() -> None:
    time = VirtualTime()
    with SimulatedHailo(Load(Constant(3.0)), timebase=time) as simulator:
        meter = make_meter("h", "hailo", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(2.0)
        simulator.stop()
        time.sleep(2.0)
        with pytest.raises(LinkLost, match="Communication closed failure"):
            meter.stop()
        meter.close()


def test_a_module_without_a_current_monitor() -> None:
    with SimulatedHailo(Load(Constant(3.0)), has_monitor=False) as simulator:
        meter = make_meter("h", "hailo", simulator.options).open()
        with pytest.raises(InstrumentError, match="does not measure its power"):
            meter.start()
        meter.close()
        assert simulator.is_protected


def test_devices_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        SimulatedHailo(Load(Constant(3.0)), devices=()) as simulator,
        pytest.raises(MeterUnavailable, match="finds no device"),
    ):
        make_meter("h", "hailo", simulator.options).open()
    with (
        SimulatedHailo(Load(Constant(3.0)), held=True) as simulator,
        pytest.raises(MeterUnavailable, match=r"HAILO_DEVICE_IN_USE.*no other process holds it"),
    ):
        make_meter("h", "hailo", simulator.options).open()
    with SimulatedHailo(Load(Constant(3.0)), devices=("0000:01:00.0", "0000:02:00.0")) as simulator:
        with pytest.raises(MeterUnavailable, match=r"several Hailo devices.*0000:02:00\.0"):
            make_meter("h", "hailo", simulator.options).open()
        with pytest.raises(MeterUnavailable, match=r"no Hailo device 'x'; there are 0000:01:00\.0"):
            make_meter("h", "hailo", {**simulator.options, "device": "x"}).open()
        with make_meter("h", "hailo", {**simulator.options, "device": "0000:02:00.0"}) as meter:
            assert meter.identity.is_simulated
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(MeterUnavailable, match="HailoRT's Python package"):
        make_meter("h", "hailo", {}).open()


def test_an_averaging_that_this_version_lacks() -> None:
    with SimulatedHailo(Load(Constant(3.0))) as simulator:
        vars(sys.modules[simulator.module_name]).pop("AveragingFactor")
        meter = make_meter("h", "hailo", {**simulator.options, "averaging": 16}).open()
        with pytest.raises(MeterUnavailable, match="no averaging of 16"):
            meter.start()
        meter.close()
        assert simulator.is_protected
