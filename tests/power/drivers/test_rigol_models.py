"""Rigol oscilloscopes: which models there are, their memory, limits of error, and settings."""

from __future__ import annotations

import pytest

from power.catalogue import make_meter
from power.drivers.common.rigol import RigolScope
from power.drivers.common.scope import ChannelSetting
from power.drivers.rigol_ds1000z import RigolDs1000z
from power.drivers.rigol_mso5000 import RigolMso5000
from power.timebase import HOST_TIME
from tests.power.dialogue import Dialogue, Step

QUIET: Step = (":SYSTem:ERRor?", '0,"No error"')


@pytest.mark.parametrize(
    ("made", "name", "channels", "on", "lengths", "rate_hz"),
    [
        (RigolDs1000z, "DS1104Z", 4, (1,), (12_000, 120_000, 1_200_000, 12_000_000), 1e9),
        (RigolDs1000z, "DS1054Z", 4, (1, 2), (6_000, 60_000, 600_000, 6_000_000), 5e8),
        (RigolDs1000z, "MSO1104Z", 4, (1, 2, 4), (3_000, 30_000, 300_000, 3_000_000), 2.5e8),
        (RigolDs1000z, "DS1202Z-E", 2, (1, 2), (6_000, 60_000, 600_000, 6_000_000), 5e8),
        (
            RigolMso5000,
            "MSO5104",
            4,
            (1, 2),
            (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 25_000_000, 50_000_000),
            4e9,
        ),
        (
            RigolMso5000,
            "MSO5072",
            2,
            (1, 2, 3),
            (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 25_000_000),
            2e9,
        ),
    ],
)
def test_memory_and_rate_of_the_models(
    made: type[RigolScope],
    name: str,
    channels: int,
    on: tuple[int, ...],
    lengths: tuple[int, ...],
    rate_hz: float,
) -> None:
    line = Dialogue([("*IDN?", f"RIGOL TECHNOLOGIES,{name},X1,1"), "*CLS", QUIET])
    scope = made("SCRIPT::INSTR", HOST_TIME, channels=on, link=line)
    scope.connect()
    model = scope.model
    assert (model.name, model.channels, model.record_lengths) == (name, channels, lengths)
    assert model.most_rate_hz == rate_hz
    assert model.spans_s is not None
    assert model.spans_s[-1] == model.longest_s == (600.0 if made is RigolDs1000z else 10_000.0)


def test_limits_of_error() -> None:
    scope = RigolDs1000z("X", HOST_TIME)
    coarse = scope.specified(ChannelSetting(1, 8.0, 2.0, 10.0))
    assert coarse.of_reading == pytest.approx(0.03 * 8 / 6)
    assert coarse.offset == pytest.approx(0.1 + 0.02 + 0.02)
    fine = scope.specified(ChannelSetting(2, 0.04))
    assert fine.of_reading == pytest.approx(0.04 * 8 / 6)
    assert fine.offset == pytest.approx(0.5e-3 + 2e-3)
    other = RigolMso5000("X", HOST_TIME).specified(ChannelSetting(2, 0.04, 0.02))
    assert [other.of_reading, other.offset] == pytest.approx([0.04, 2.5e-3 + 0.3e-3])


def test_ranges_count_as_they_are_set() -> None:
    assert RigolDs1000z("X", HOST_TIME).fitted(ChannelSetting(2, 0.1)).range_v == pytest.approx(0.16)
    meter = make_meter(
        "m",
        "rigol-ds1000z",
        {"resource": "X", "voltage": {"channel": 1}, "current": {"channel": 2, "shunt_ohm": 0.01}},
    )
    assert meter.range_text == "16 V / 16 A"
