"""What probes are on: power per sample, its accuracy, and the settings of farm.toml."""

from __future__ import annotations

import math

import numpy as np
import pytest

from power.drivers.common.probing import PIECE, Probing
from power.drivers.common.scope import ChannelSetting
from power.errors import OptionInvalid
from power.options import Options
from power.specification import Specified

VOLTAGE = {"channel": 1, "range_v": 16.0}
SHUNT = {"channel": 2, "shunt_ohm": 0.02}


def probing(**given: object) -> Probing:
    options = Options(given, "'scope'")
    made = Probing.from_options(options)
    options.done()
    return made


def convert(made: Probing, volts: float | None, probe: float) -> tuple[float, float]:
    power, current = made.convert(None if volts is None else np.array([volts]), np.array([probe]))
    return float(power[0]), float(current[0])


@pytest.mark.parametrize(
    ("made", "volts", "probe", "power_w", "current_a"),
    [
        (probing(voltage=VOLTAGE, current=SHUNT), 5.04, 0.04, 10.0, 2.0),
        (probing(voltage=VOLTAGE, current={**SHUNT, "sense": "after"}), 5.0, 0.04, 10.0, 2.0),
        (probing(voltage=VOLTAGE, current={"channel": 2, "clamp_v_per_a": 0.1}), 5.0, 0.2, 10.0, 2.0),
        (
            probing(voltage=VOLTAGE, current={"channel": 2, "clamp_v_per_a": 0.1, "turns": 4}),
            5.0,
            0.8,
            10.0,
            2.0,
        ),
        (probing(supply_v=5.0, supply_tolerance=0.02, current=SHUNT), None, 0.04, 4.96 * 2.0, 2.0),
    ],
)
def test_power_of_a_sample(
    made: Probing, volts: float | None, probe: float, power_w: float, current_a: float
) -> None:
    assert convert(made, volts, probe) == pytest.approx((power_w, current_a))


def test_samples_are_multiplied_one_by_one() -> None:
    # The voltage sags whenever current flows: mean(V) × mean(I) would be 5.5 W too much.
    made = probing(voltage=VOLTAGE, current={**SHUNT, "sense": "after"})
    count = 2 * PIECE + 10
    current = np.where(np.arange(count) % 2 == 0, 0.0, 3.0)
    volts = 5.0 - current
    power, found = made.convert(volts, 0.02 * current)
    assert found == pytest.approx(current)
    assert power.mean() == pytest.approx(3.0)
    assert volts.mean() * current.mean() == pytest.approx(5.25)


def test_a_missing_voltage_is_no_zero() -> None:
    with pytest.raises(ValueError, match="voltage of the samples is missing"):
        convert(probing(voltage=VOLTAGE, current=SHUNT), None, 0.04)


def test_accuracy_of_channels_shunt_and_probe() -> None:
    made = probing(
        voltage={"channel": 1, "range_v": 2.0, "offset_v": 4.0, "tolerance": 0.01},
        current={**SHUNT, "shunt_tolerance": 0.005, "range_v": 0.1, "offset_v": 0.02},
    )

    def specified(channel: ChannelSetting) -> Specified:
        return Specified(0.015, 0.03 * channel.range_v)

    accuracy = made.accuracy(5.0, specified, 250, "a data sheet")
    assert accuracy is not None
    # Gain: of the voltage (1 V of 5 V is above its offset), its probe and its offset; of the current's channel, and the shunt.
    gains = (0.015 * 1.0 / 5.0, 0.01, 0.06 / 5.0, 0.015, 0.005)
    assert accuracy.u_gain == pytest.approx(math.sqrt(sum(g * g for g in gains) / 3.0))
    # Offset: of the current's channel, and the gain that acts on its constant 20 mV.
    offset_v = math.hypot(0.03 * 0.1, 0.015 * 0.02)
    assert accuracy.u_offset_w == pytest.approx(5.0 * offset_v / 0.02 / math.sqrt(3.0))
    assert accuracy.resolution_w == pytest.approx(5.0 * 0.1 / 250 / 0.02)


def test_accuracy_of_a_known_supply() -> None:
    made = probing(supply_v=12.0, supply_tolerance=0.02, current=SHUNT)
    accuracy = made.accuracy(None, lambda channel: Specified(0.0, 0.0), 250, "")
    assert accuracy is not None
    assert accuracy.u_gain == pytest.approx(0.02 / math.sqrt(3.0))
    assert probing(voltage=VOLTAGE, current=SHUNT).accuracy(None, lambda c: Specified(0, 0), 250, "") is None


def test_defaults_and_ranges() -> None:
    made = probing(
        voltage={"channel": 1},
        current={"channel": 2, "clamp_v_per_a": 0.1},
        marker={"channel": 4, "level_v": 1.4},
    )
    assert [channel.number for channel in made.channels] == [1, 2, 4]
    assert made.range_text == "16 V / 10 A"
    assert made.sense is None
    assert made.marker_level_v == 1.4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"current": SHUNT}, "either voltage = .* or supply_v"),
        ({"current": SHUNT, "voltage": VOLTAGE, "supply_v": 5.0}, "either voltage = .* or supply_v"),
        ({"current": SHUNT, "supply_v": 5.0}, "supply_tolerance is missing"),
        ({"current": SHUNT, "voltage": VOLTAGE, "supply_tolerance": 0.1}, "but the voltage is measured"),
        ({"current": {"channel": 2}, "voltage": VOLTAGE}, "either shunt_ohm or clamp_v_per_a"),
        ({"current": {**SHUNT, "clamp_v_per_a": 1.0}, "voltage": VOLTAGE}, "either shunt_ohm or clamp"),
        ({"current": {**SHUNT, "shunt_ohm": 0.0}, "voltage": VOLTAGE}, "shunt_ohm must be above 0"),
        ({"current": {**SHUNT, "turns": 2}, "voltage": VOLTAGE}, "'turns' is not known here"),
        ({"current": {**SHUNT, "channel": 1}, "voltage": VOLTAGE}, "two probes .* on channel 1"),
        ({"current": {**SHUNT, "sense": "befor"}, "voltage": VOLTAGE}, "did you mean 'before'"),
        ({"current": SHUNT, "voltage": {"channel": 1, "rangev": 1.0}}, "did you mean 'range_v'"),
        (
            {"current": SHUNT, "voltage": VOLTAGE, "marker": {"channel": 4, "level_v": 9.0}},
            "9 V, is off its screen of 10 V",
        ),
    ],
)
def test_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(OptionInvalid, match=words):
        probing(**settings)
