"""Which newer Siglent oscilloscopes there are, what their memory holds, and what their data sheets promise.

Sources: SIGLENT "SDS Series Programming Guide" EN11, :ACQuire:MDEPth (depths of SDS2000X Plus and SDS5000X; of the HD series only
those that are the same with any number of channels on are used). Limits of error from the series' data sheets:

    HD      gain ±0.5 %, offset ±(0.5 % of 8 squares + 0.5 % of the offset + 1 mV)
    others  gain ±3 % (±4 % below 5 mV a square), offset ±(1.5 % of 8 squares + 1.5 % of the offset + 2 mV)

Data sheets differ between revisions: check that of yours, or state `accuracy` in farm.toml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from power.drivers.common.scope import ChannelSetting, ScopeModel
from power.drivers.common.single_shot import ROWS, scale_v, spans
from power.specification import Specified

COLUMNS = 10
SHORTEST_DIV_S, LONGEST_DIV_S = 1e-9, 1000.0


@dataclass(frozen=True, slots=True)
class Family:
    """What instruments of a family have in common. Depths and rates are by 1, 2 and more channels that are on.

    has_50_ohm  whether the input's impedance can be chosen
    """

    name: str
    pattern: re.Pattern[str]
    bits: int
    depths: tuple[tuple[int, ...], ...]
    rates_hz: tuple[float, float, float]
    codes_per_div: int
    has_50_ohm: bool = False


def _decades(*most: int) -> tuple[tuple[int, ...], ...]:
    """Return the depths that end in each of these, a decade apart."""
    return tuple(
        tuple(depth // 10**down for down in (4, 3, 2, 1, 0) if depth // 10**down >= 10_000) for depth in most
    )


FAMILIES = (
    Family(
        "SDS800X HD",
        re.compile(r"SDS8\d([24])X ?HD", re.IGNORECASE),
        12,
        _decades(10_000_000, 10_000_000, 10_000_000),
        (2e9, 1e9, 5e8),
        480,
    ),
    Family(
        "SDS1000X HD",
        re.compile(r"SDS1\d\d([24])X ?HD", re.IGNORECASE),
        12,
        _decades(10_000_000, 10_000_000, 10_000_000),
        (2e9, 1e9, 5e8),
        480,
    ),
    Family(
        "SDS2000X HD",
        re.compile(r"SDS2\d\d([24])X ?HD", re.IGNORECASE),
        12,
        _decades(10_000_000, 10_000_000, 10_000_000),
        (2e9, 2e9, 1e9),
        480,
        has_50_ohm=True,
    ),
    Family(
        "SDS2000X Plus",
        re.compile(r"SDS2\d\d([24])X ?PLUS", re.IGNORECASE),
        8,
        _decades(200_000_000, 100_000_000, 100_000_000),
        (2e9, 1e9, 1e9),
        30,
        has_50_ohm=True,
    ),
    Family(
        "SDS5000X",
        re.compile(r"SDS5\d\d([24])X", re.IGNORECASE),
        8,
        (
            (250_000, 1_250_000, 2_500_000, 12_500_000, 25_000_000, 125_000_000, 250_000_000),
            (125_000, 625_000, 1_250_000, 6_250_000, 12_500_000, 62_500_000, 125_000_000),
            (125_000, 625_000, 1_250_000, 6_250_000, 12_500_000, 62_500_000, 125_000_000),
        ),
        (5e9, 2.5e9, 2.5e9),
        30,
        has_50_ohm=True,
    ),
)


def modelled(family: Family, name: str, channels: int, on: int) -> ScopeModel:
    """Return what an instrument of the family does with so many channels on."""
    share = max(1, min(on, 3)) - 1
    return ScopeModel(
        name,
        channels,
        family.depths[share],
        family.rates_hz[share],
        ROWS * family.codes_per_div,
        has_hires=False,
        longest_s=COLUMNS * LONGEST_DIV_S,
        spans_s=spans(COLUMNS, SHORTEST_DIV_S, LONGEST_DIV_S),
    )


def limits(channel: ChannelSetting, *, is_hd: bool) -> Specified:
    """Return the data sheets' limits of error."""
    div_v, offset_v = scale_v(channel), abs(channel.offset_v)
    if is_hd:
        return Specified(0.005, 0.005 * ROWS * div_v + 0.005 * offset_v + 1e-3 * channel.attenuation)
    fine = div_v / channel.attenuation < 5e-3 * (1.0 - 1e-9)
    return Specified(
        0.04 if fine else 0.03, 0.015 * ROWS * div_v + 0.015 * offset_v + 2e-3 * channel.attenuation
    )
