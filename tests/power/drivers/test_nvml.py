"""NVIDIA cards through NVML: energies from the counter and from power, which source is taken, and how it fails."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from power.catalogue import make_meter
from power.drivers.nvml import Nvml
from power.errors import InstrumentError, LinkLost, MeterUnavailable, NoReading, PowerError
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.nvml import GAIN_LIMIT, NVMLError, SimulatedNvml
from tests.power.fakes.script import Script
from tests.power.trials import Levels, Timing, check_coverage, check_in_real_time, specimens

LIMITS: dict[str, object] = {"accuracy": {"gain": GAIN_LIMIT, "offset_w": 0.0}}
CARD = Levels(idle_w=30.0, active_w=120.0, burst_s=0.02)
HOPPER, VOLTA, PASCAL = 9, 5, 4


SPECIMENS = specimens(SimulatedNvml)


def test_dialogue() -> None:
    """The exact calls, in order: the counter is not there, the power of an instant is."""
    script = Script(
        [
            ("nvmlInit", (), {}, None),
            ("nvmlDeviceGetHandleByUUID", ("GPU-7",), {}, "card"),
            ("nvmlDeviceGetName", ("card",), {}, b"NVIDIA GeForce GTX 1660"),
            ("nvmlDeviceGetTotalEnergyConsumption", ("card",), {}, NVMLError(3)),
            ("nvmlDeviceGetFieldValues", ("card", [186]), {}, [field(0, 31_250)]),
            ("nvmlDeviceGetSerial", ("card",), {}, NVMLError(3)),
            ("nvmlDeviceGetUUID", ("card",), {}, "GPU-7"),
            ("nvmlSystemGetDriverVersion", (), {}, "535.104"),
            ("nvmlDeviceGetFieldValues", ("card", [186]), {}, [field(0, 31_250)]),
            ("nvmlDeviceGetFieldValues", ("card", [186]), {}, [field(999, 0)]),
            ("nvmlShutdown", (), {}, None),
        ]
    )
    with script.module("wattfarm_scripted_nvml", NVMLError=NVMLError) as module:
        card = Nvml(VirtualTime(), uuid="GPU-7", module=module.__name__)
        identity = card.connect()
        assert (identity.model, identity.serial, identity.firmware) == (
            "NVIDIA GeForce GTX 1660",
            "GPU-7",
            "535.104",
        )
        card.begin()
        assert card.read().power_w == 31.25
        with pytest.raises(InstrumentError, match=r"did not answer \(Unknown Error\)"):
            card.read()
        card.make_safe()
        card.disconnect()
        card.disconnect()
    script.check_used_up()


def field(code: int, milli_w: int) -> SimpleNamespace:
    return SimpleNamespace(nvmlReturn=code, value=SimpleNamespace(uiVal=milli_w))


@pytest.mark.parametrize(("mode", "interval_s"), [("energy", 0.1), ("average", 0.25)])
@pytest.mark.slow
def test_energies_lie_within_their_uncertainty(mode: str, interval_s: float) -> None:
    options = {**LIMITS, "mode": mode, "interval_s": interval_s}
    check_coverage("nvml", SPECIMENS, levels=CARD, timing=Timing(5.0, 20.0, 2.0), options=options)


def test_energies_from_power_of_an_instant() -> None:
    levels = Levels(idle_w=30.0, active_w=120.0, burst_s=0.01)
    options = {**LIMITS, "mode": "instant", "interval_s": 0.08}
    check_coverage("nvml", SPECIMENS, levels=levels, timing=Timing(3.0, 8.0, 1.0), options=options)


@pytest.mark.slow
def test_energy_in_real_time() -> None:
    check_in_real_time("nvml", SPECIMENS, levels=CARD, timing=Timing(1.0, 1.5, 0.25), options=LIMITS, seed=3)


@pytest.mark.parametrize(
    ("how", "reading", "averaging_s"),
    [
        ({"architecture": HOPPER}, "counter", None),
        ({"fails": {"nvmlDeviceGetTotalEnergyConsumption": 3}}, "instantaneous", None),
        ({"fails": {"nvmlDeviceGetTotalEnergyConsumption": 3, "field": 3}}, "average", 1.0),
        (
            {"fails": {"nvmlDeviceGetTotalEnergyConsumption": 3}, "architecture": PASCAL},
            "instantaneous",
            None,
        ),
        (
            {
                "fails": {"nvmlDeviceGetTotalEnergyConsumption": 3, "field": 3},
                "names": ("NVIDIA A100-SXM4-40GB",),
            },
            "instantaneous",
            None,
        ),
        (
            {"fails": {"nvmlDeviceGetTotalEnergyConsumption": 13, "nvmlDeviceGetFieldValues": 13}},
            "average",
            1.0,
        ),
    ],
    ids=["counter", "power now", "mean of a second", "before Volta", "GA100", "an old library"],
)
def test_which_source_is_taken(how: dict[str, Any], reading: str, averaging_s: float | None) -> None:
    time = VirtualTime()
    with (
        SimulatedNvml(Load(Constant(80.0)), timebase=time, **how) as simulator,
        make_meter("g", "nvml", simulator.options, timebase=time) as meter,
    ):
        meter.start()
        time.sleep(2.0)
        trace = meter.stop()
        assert meter.capabilities.reading == reading
        assert trace.averaging_s == averaging_s
        assert meter.capabilities.accuracy is None
        assert meter.capabilities.scope == "card"
    if reading == "counter":
        assert trace.update_s == pytest.approx(0.1)
    else:
        assert trace.power_w is not None
        assert trace.power_w == pytest.approx([80.0] * len(trace))


def test_the_counter_stands_still_below_its_period() -> None:
    time = VirtualTime()
    with SimulatedNvml(Load(Constant(80.0)), timebase=time) as simulator:
        settings = {**simulator.options, "interval_s": 0.02}
        with make_meter("g", "nvml", settings, timebase=time) as meter:
            meter.start()
            time.sleep(1.0)
            trace = meter.stop()
    assert trace.energy_j is not None
    steps_j = trace.energy_j[1:] - trace.energy_j[:-1]
    assert (steps_j == 0.0).sum() > 30
    assert steps_j.sum() == pytest.approx(80.0, rel=0.11)


def test_a_jetson_tells_neither() -> None:
    not_supported = {"nvmlDeviceGetTotalEnergyConsumption": 3, "nvmlDeviceGetPowerUsage": 3, "field": 3}
    with SimulatedNvml(Load(Constant(5.0)), fails=not_supported, names=("Orin (nvgpu)",)) as simulator:
        with pytest.raises(
            MeterUnavailable, match=r"Orin \(nvgpu\) does not tell its power.*use jetson-ina3221"
        ):
            make_meter("g", "nvml", simulator.options).open()
        assert simulator.is_released
        settings = {**simulator.options, "mode": "energy"}
        with pytest.raises(MeterUnavailable, match='what mode = "energy" asks for'):
            make_meter("g", "nvml", settings).open()


def test_several_cards_are_named_by_index_or_uuid() -> None:
    with SimulatedNvml(Load(Constant(80.0)), names=("First", "Second")) as simulator:
        with pytest.raises(MeterUnavailable, match=r"several cards.*0: First \(GPU-0000-0\), 1: Second"):
            make_meter("g", "nvml", simulator.options).open()
        for settings in ({"index": 1}, {"uuid": "GPU-0000-1"}):
            with make_meter("g", "nvml", {**simulator.options, **settings}) as meter:
                assert meter.identity.model == "Second"
                assert meter.identity.is_simulated
        with pytest.raises(MeterUnavailable, match="no card with the index 2; there are 0: First"):
            make_meter("g", "nvml", {**simulator.options, "index": 2}).open()
        with pytest.raises(MeterUnavailable, match="no card with the uuid 'GPU-x'; there are 0: First"):
            make_meter("g", "nvml", {**simulator.options, "uuid": "GPU-x"}).open()
        assert simulator.is_released


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ({"nvmlInit": 12}, r"Shared Library Not Found\): install NVIDIA's driver"),
        ({"nvmlInit": 9}, r"Driver Not Loaded\): install NVIDIA's driver"),
        ({"nvmlDeviceGetTotalEnergyConsumption": 4}, "may not ask Simulated GPU for its power"),
        ({"nvmlDeviceGetTotalEnergyConsumption": 15}, "GPU is lost"),
        ({"nvmlDeviceGetCount": 999}, "Unknown Error"),
    ],
)
def test_cards_that_cannot_be_opened(fails: dict[str, int], words: str) -> None:
    with (
        SimulatedNvml(Load(Constant(80.0)), fails=fails) as simulator,
        pytest.raises(MeterUnavailable, match=words),
    ):
        make_meter("g", "nvml", simulator.options).open()


def test_without_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MeterUnavailable, match=r"run pip install 'wattfarm\[nvml\]'"):
        make_meter("g", "nvml", {}).open()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (15, LinkLost, "Simulated GPU is gone"),
        (3, NoReading, "tells no power any more"),
        (999, InstrumentError, "did not answer"),
    ],
)
def test_what_breaks_in_mid_run(code: int, kind: type[PowerError], words: str) -> None:
    time = VirtualTime()
    with SimulatedNvml(Load(Constant(80.0)), timebase=time) as simulator:
        meter = make_meter("g", "nvml", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(1.0)
        simulator.fails["nvmlDeviceGetTotalEnergyConsumption"] = code
        time.sleep(1.0)
        with pytest.raises(kind, match=words):
            meter.stop()
        meter.close()
        assert simulator.is_released


@pytest.mark.parametrize("faults", [Faults(disconnect_after=5), Faults(garbage_after=5)])
def test_faults_of_the_simulator(faults: Faults) -> None:
    time = VirtualTime()
    with SimulatedNvml(Load(Constant(80.0)), timebase=time, faults=faults) as simulator:
        meter = make_meter("g", "nvml", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(2.0)
        with pytest.raises(PowerError, match=r"is gone|did not answer"):
            meter.stop()
        meter.close()


def test_a_reloaded_driver_resets_the_counter() -> None:
    time = VirtualTime()
    with SimulatedNvml(Load(Constant(80.0)), timebase=time) as simulator:
        meter = make_meter("g", "nvml", simulator.options, timebase=time).open()
        meter.start()
        time.sleep(1.0)
        simulator._loaded_s = time.now_ns() / 1e9 - 1.0
        time.sleep(1.0)
        with pytest.raises(InstrumentError, match="went back"):
            meter.stop()
        meter.close()


def test_the_simulated_module_has_the_names_of_the_real_one() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    with SimulatedNvml(Load(Constant(1.0))) as simulator:
        contents = simulator.contents()
    assert all(hasattr(pynvml, name) for name in contents)
    assert pynvml.NVMLError(15).value == 15
    assert (pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE) == (186, 185)
    assert (pynvml.NVML_DEVICE_ARCH_VOLTA, pynvml.NVML_DEVICE_ARCH_AMPERE) == (VOLTA, 7)
