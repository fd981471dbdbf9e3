"""Registers of INA sensors against their data sheets' closed forms and examples."""

from __future__ import annotations

import pytest

from power.drivers.common.ina_registers import SENSORS, signed
from power.errors import OptionInvalid

INA219, INA226, INA3221 = SENSORS["INA219"], SENSORS["INA226"], SENSORS["INA3221"]


@pytest.mark.parametrize(("register", "value"), [(0, 0), (0x7FFF, 32767), (0x8000, -32768), (0xFFFF, -1)])
def test_two_s_complement(register: int, value: int) -> None:
    assert signed(register) == value


@pytest.mark.parametrize(
    ("register", "volts"), [(0x7D00, 0.32), (0x8300, -0.32), (0x0FA0, 0.04), (0x0001, 10e-6)]
)
def test_ina219_shunt(register: int, volts: float) -> None:
    assert INA219.shunt_volts(register) == pytest.approx(volts, abs=1e-12)


def test_ina219_bus_has_flags_below() -> None:
    assert INA219.bus_volts(0x5D98) == pytest.approx(11.98, abs=0.005)  # SBOS448, the worked example of 12 V
    assert INA219.bus_volts(0x5D98 | 3) == INA219.bus_volts(0x5D98)
    assert INA219.bus_volts(8000 << 3) == pytest.approx(32.0)


def test_ina226_as_in_its_example() -> None:
    # SBOS547, 7.5: 10 A on 2 mΩ at 12 V: shunt 20 mV = 8000 digits, bus 11.98 V = 9584 digits, calibration 2560 for 1 mA.
    assert INA226.shunt_volts(0x1F40) == pytest.approx(0.02)
    assert INA226.bus_volts(0x2570) == pytest.approx(11.98)
    assert INA226.calibration_register(1e-3, 2e-3) == 2560
    assert INA226.watts_per_digit(1e-3) == pytest.approx(0.025)
    # Power register 4792 · 25 mW = 119.8 W, as V · I.
    assert 8000 * 2560 // 2048 * 9584 // 20000 == 4792


def test_ina219_calibration_closes() -> None:
    register = INA219.calibration_register(1e-4, 0.1)
    assert register == 4096
    assert INA219.watts_per_digit(1e-4) == pytest.approx(2e-3)
    # current = shunt · calibration / 4096: 0.1 V over 0.1 Ω is 1 A.
    assert 10_000 * register / 4096 * 1e-4 == pytest.approx(1.0)


@pytest.mark.parametrize(("register", "volts"), [(0x7FF8, 0.1638), (0x8008, -0.1638), (0x0008, 40e-6)])
def test_ina3221_shunt(register: int, volts: float) -> None:
    assert INA3221.shunt_volts(register) == pytest.approx(volts)


def test_ina3221_bus() -> None:
    assert INA3221.bus_volts(0x0008) == pytest.approx(8e-3)
    assert INA3221.bus_volts(3250 << 3) == pytest.approx(26.0)
    with pytest.raises(OptionInvalid, match="has no calibration register"):
        INA3221.calibration_register(1e-3, 1e-2)


@pytest.mark.parametrize("step", [1e-9, 10.0])
def test_steps_that_no_register_holds(step: float) -> None:
    with pytest.raises(OptionInvalid, match="choose larger or smaller steps"):
        INA226.calibration_register(step, 2e-3)


@pytest.mark.parametrize("name", sorted(SENSORS))
def test_there_and_back(name: str) -> None:
    sensor = SENSORS[name]
    for shunt_v in (-0.05, 0.0, 0.0123, 0.08):
        for bus_v in (0.0, 5.0, 12.3):
            shunt, bus = sensor.registers(shunt_v, bus_v)
            assert 0 <= shunt <= 0xFFFF
            assert 0 <= bus <= 0xFFFF
            assert sensor.shunt_volts(shunt) == pytest.approx(shunt_v, abs=0.5001 * sensor.shunt_v)
            assert sensor.bus_volts(bus) == pytest.approx(bus_v, abs=0.5001 * sensor.bus_v)
            assert not sensor.is_over(shunt, bus)
    for shunt_v in (-1.0, 1.0):
        assert sensor.is_over(*sensor.registers(shunt_v, 5.0))


def test_the_ina219_tells_an_overflow() -> None:
    shunt, bus = INA219.registers(0.01, 5.0)
    assert INA219.is_over(shunt, bus | 1)
