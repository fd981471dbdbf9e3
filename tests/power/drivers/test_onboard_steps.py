"""What a digit of this machine's own sensors is worth in power, and that it stands in the budget."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from power.catalogue import make_meter
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.hwmon import SimulatedHwmon
from power.sim.jetson_ina3221 import SimulatedJetsonIna3221
from power.uncertainty import GainOffset

INA226 = {"name": "ina226", "shunt_resistor": 2000, "in1_input": 12000, "curr1_input": 1000}
"""2 mΩ: a digit of 2.5 µV is 1.25 mA, and one of power 25 of them (TI SBOS547)."""


def lay(root: Path, files: dict[str, object], number: int = 1) -> None:
    place = root / f"sys/class/hwmon/hwmon{number}"
    place.mkdir(parents=True)
    for name, content in {"power1_input": 12_000_000, **files}.items():
        (place / name).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("files", "step_w"),
    [
        (INA226, 25 * 2.5e-6 / 0.002),
        ({**INA226, "name": "ina231"}, 25 * 2.5e-6 / 0.002),
        ({**INA226, "name": "ina219", "shunt_resistor": 10_000}, 20 * 10e-6 / 0.01),
        ({"name": "ina260"}, 0.010),
        ({"name": "ina226"}, None),
        ({**INA226, "shunt_resistor": 0}, None),
        ({**INA226, "name": "ltc2945"}, None),
    ],
)
def test_the_digit_of_a_power_register(
    tmp_path: Path, files: dict[str, object], step_w: float | None
) -> None:
    lay(tmp_path, files)
    options: dict[str, object] = {"root": str(tmp_path), "rails": [f"{files['name']}/power1"]}
    with make_meter("m", "hwmon", options) as meter:
        assert meter.capabilities.resolution_w == (None if step_w is None else pytest.approx(step_w))


def test_rails_add_up_in_squares_and_phases_count(tmp_path: Path) -> None:
    lay(tmp_path, INA226)
    lay(tmp_path, {**INA226, "name": "ina219", "shunt_resistor": 10_000}, 2)
    rails = {"sensors": {"ina226": "A", "ina219": "B"}, "total": ["A", "B"], "factors": {"A": 6.0}}
    with make_meter("m", "hwmon", {"root": str(tmp_path), "rail_map": rails}) as meter:
        assert meter.capabilities.resolution_w == pytest.approx(math.hypot(6.0 * 0.03125, 0.02))


def test_a_step_is_in_what_the_user_states_unless_he_states_one() -> None:
    limits = {"gain": 0.01, "offset_w": 0.02}
    with SimulatedHwmon(Load(Constant(5.0)), timebase=VirtualTime()) as simulator:
        options = dict(simulator.options)
        with make_meter("m", "hwmon", {**options, "accuracy": limits}) as meter:
            step_w, accuracy = meter.capabilities.resolution_w, meter.capabilities.accuracy
        with make_meter("m", "hwmon", {**options, "accuracy": {**limits, "resolution_w": 0.5}}) as meter:
            stated = meter.capabilities.accuracy
        with make_meter("m", "hwmon", options) as meter:
            assert meter.capabilities.accuracy is None
    assert isinstance(accuracy, GainOffset)
    assert isinstance(stated, GainOffset)
    assert step_w is not None
    assert accuracy.resolution_w == step_w
    assert stated.resolution_w == 0.5


@pytest.mark.parametrize("driver", ["jetson-ina3221", "hwmon"])
def test_an_ina3221_steps_in_voltage_and_current(driver: str) -> None:
    """12 W at 12 V on 5 mΩ: 12 V × 40 µV ÷ 5 mΩ and 1 A × 8 mV (TI SBOS576)."""
    time = VirtualTime()
    with SimulatedJetsonIna3221(Load(Constant(12.0), 12.0), timebase=time, kernel="ina3221") as simulator:
        options = {"root": simulator.options["root"], "rails": ["VDD_IN"]}
        with make_meter("m", driver, options, timebase=time) as meter:
            assert meter.capabilities.resolution_w == pytest.approx(5.0 * 40e-6 / 0.005)
            meter.start()
            time.sleep(1.0)
            meter.stop()
            step_w = meter.capabilities.resolution_w
    assert step_w == pytest.approx(math.hypot(12.0 * 0.008, 1.0 * 0.008), rel=0.01)


def test_an_old_kernel_shows_finer_digits_than_the_chip_has() -> None:
    with SimulatedJetsonIna3221(Load(Constant(5.0)), timebase=VirtualTime(), kernel="ina3221x") as simulator:
        options = dict(simulator.options)
        with make_meter("m", "jetson-ina3221", options) as meter:
            assert meter.capabilities.resolution_w is None
        with make_meter("m", "jetson-ina3221", {**options, "shunt_ohm": 0.005}) as meter:
            assert meter.capabilities.resolution_w == pytest.approx(0.040)
