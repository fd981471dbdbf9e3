"""What an oscilloscope's probes are on, and the power that follows: per sample, never mean voltage × mean current.

    shunt, voltage taken before it   P = (Vs − Vsh) · Vsh / R
    shunt, voltage taken after it    P = V · Vsh / R
    clamp                            P = V · Vc / k

with R in Ω, k in V/A (times the turns through the clamp). A supply that is not measured stands in for the voltage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from power.drivers.common.scope import ChannelSetting
from power.options import LARGEST_SHUNT_OHM, Options
from power.specification import Specified, product_accuracy
from power.trace import Floats
from power.uncertainty import GainOffset

KEYS = "voltage current supply_v supply_tolerance marker"
"""Keys of farm.toml that are taken here."""
MOST_CHANNELS = 8
VOLTAGE_RANGE_V = 16.0
SHUNT_RANGE_V = 0.1
CLAMP_RANGE_A = 10.0
MARKER_RANGE_V = 10.0
PIECE = 1 << 15
"""Samples at a time: temporaries stay in the processor's cache."""

Sense = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Probing:
    """What the channels are.

    voltage            None where the supply is known instead: `supply_v`, within ± `supply_tolerance` of it
    volts_per_ampere   of the shunt or the clamp, its turns included; `tolerance` of it is a limit of error
    turns              through the clamp
    sense              side of the shunt that the voltage is taken from; None of a clamp
    voltage_tolerance  limit of error of the voltage probe's attenuation
    """

    current: ChannelSetting
    volts_per_ampere: float
    sense: Sense | None
    voltage: ChannelSetting | None = None
    tolerance: float = 0.0
    voltage_tolerance: float = 0.0
    supply_v: float | None = None
    supply_tolerance: float = 0.0
    marker: ChannelSetting | None = None
    marker_level_v: float = 0.0
    turns: int = 1

    @classmethod
    def from_options(cls, options: Options) -> Self:
        """Take voltage or supply_v, current, and marker. Raises OptionInvalid."""
        table = options.table("current")
        ohm, clamp = (
            table.maybe("shunt_ohm", above=0.0, high=LARGEST_SHUNT_OHM),
            table.maybe("clamp_v_per_a", above=0.0),
        )
        if (ohm is None) == (clamp is None):
            table.fail("give either shunt_ohm or clamp_v_per_a")
        turns = table.integer("turns", 1, low=1, high=1000) if clamp is not None else 1
        per_ampere = ohm if ohm is not None else (clamp or 0.0) * turns
        kind = "shunt" if ohm is not None else "clamp"
        default_v = SHUNT_RANGE_V if ohm is not None else CLAMP_RANGE_A * per_ampere
        sense: Sense | None = None
        if ohm is not None:
            sense = "after" if table.choice("sense", ("before", "after"), "before") == "after" else "before"
        tolerance = table.number(f"{kind}_tolerance", 0.0, low=0.0, high=0.5)
        current = _channel(table, default_v, deskew_s=table.number("deskew_s", 0.0, low=-1e-3, high=1e-3))
        table.done()
        voltage, voltage_tolerance, supply_v, supply_tolerance = _supply(options)
        marker, level_v = _marker(options)
        made = cls(
            current,
            per_ampere,
            sense,
            voltage,
            tolerance,
            voltage_tolerance,
            supply_v,
            supply_tolerance,
            marker,
            level_v,
            turns,
        )
        numbers = [channel.number for channel in made.channels]
        if len(set(numbers)) < len(numbers):
            options.fail(f"two probes are said to be on channel {max(numbers, key=numbers.count)}")
        return made

    def fitted(self, fit: Callable[[ChannelSetting], ChannelSetting]) -> Self:
        """Return it with the channels as an oscilloscope really sets them."""
        return replace(
            self,
            current=fit(self.current),
            voltage=None if self.voltage is None else fit(self.voltage),
            marker=None if self.marker is None else fit(self.marker),
        )

    @property
    def channels(self) -> tuple[ChannelSetting, ...]:
        """All channels that are read."""
        return tuple(one for one in (self.voltage, self.current, self.marker) if one is not None)

    @property
    def range_text(self) -> str:
        """The ranges, as certificates name them."""
        ranges = [] if self.voltage is None else [f"{self.voltage.range_v:g} V"]
        return " / ".join([*ranges, f"{self.current.range_v / self.volts_per_ampere:.4g} A"])

    @property
    def setup_text(self) -> str:
        """What the probes are on, as certificates name it: whatever changes the factor from their voltages to power."""
        if self.sense is None:
            of_one = self.volts_per_ampere / self.turns
            current = f"clamp of {of_one:.6g} V/A with {self.turns} turn{'s' if self.turns > 1 else ''}"
        else:
            current = f"shunt of {self.volts_per_ampere:.6g} Ω"
        current = f"{current} on {_place(self.current)}"
        if self.voltage is None:
            return f"{current}, supply taken as {self.supply_v:.6g} V" + (
                "" if self.sense is None else f" {self.sense} it"
            )
        return (
            f"{current}, voltage {'' if self.sense is None else f'{self.sense} it '}on {_place(self.voltage)}"
        )

    def convert(self, volts: Floats | None, probe: Floats) -> tuple[Floats, Floats]:
        """Return power and current of the samples; `probe` is what the shunt's or clamp's channel saw, V, and is used up.

        Raises ValueError if the voltage is missing though it is measured.
        """
        volts = self._known(volts, probe)
        power = np.empty_like(probe)
        scale = 1.0 / self.volts_per_ampere
        for begin in range(0, len(probe), PIECE):
            part = slice(begin, begin + PIECE)
            board = volts[part] - probe[part] if self.sense == "before" else volts[part]
            probe[part] *= scale
            np.multiply(probe[part], board, out=power[part])
        return power, probe

    def power_in_place(self, volts: Floats | None, probe: Floats) -> Floats:
        """Return power as `convert` does, written over `probe`: long records have no room for a third column."""
        volts = self._known(volts, probe)
        scale = 1.0 / self.volts_per_ampere
        for begin in range(0, len(probe), PIECE):
            part = slice(begin, begin + PIECE)
            board = volts[part] - probe[part] if self.sense == "before" else volts[part]
            probe[part] *= scale
            probe[part] *= board
        return probe

    def _known(self, volts: Floats | None, probe: Floats) -> Floats:
        if volts is not None:
            return volts
        if self.supply_v is None:
            raise ValueError("the voltage of the samples is missing")
        return np.broadcast_to(np.float64(self.supply_v), probe.shape)

    def resolution_w(self, codes: int, voltage_v: float | None) -> float | None:
        """Return what one step of the converter is in power; None as long as the voltage is not known.

        In high resolution too: averaging shows finer steps, but not less of the converter's nonlinearity, which is about one.
        """
        supply_v = voltage_v or self.supply_v
        if supply_v is None:
            return None
        return abs(supply_v) * self.current.range_v / codes / self.volts_per_ampere

    def accuracy(
        self,
        voltage_v: float | None,
        specified: Callable[[ChannelSetting], Specified],
        codes: int,
        source: str,
    ) -> GainOffset | None:
        """Return the accuracy of power at a supply of about `voltage_v`; None as long as that is not known.

        Limits of channels are of the distance from the channel's offset: the part of it that is constant joins the offset.
        """
        supply_v = voltage_v or self.supply_v
        if supply_v is None:
            return None
        supply = Specified(self.supply_tolerance, 0.0)
        if self.voltage is not None:
            found = specified(self.voltage)
            gain = found.of_reading * abs(supply_v - self.voltage.offset_v) / abs(supply_v)
            supply = Specified(math.hypot(gain, self.voltage_tolerance), found.offset)
        channel = specified(self.current)
        shift_v = math.hypot(channel.offset, channel.of_reading * self.current.offset_v)
        current = Specified(
            math.hypot(channel.of_reading, self.tolerance), shift_v / abs(self.volts_per_ampere)
        )
        return product_accuracy(
            supply,
            current,
            abs(supply_v),
            resolution_w=self.resolution_w(codes, supply_v) or 0.0,
            source=source,
        )


def _channel(table: Options, range_v: float, *, deskew_s: float = 0.0) -> ChannelSetting:
    return ChannelSetting(
        table.integer("channel", low=1, high=MOST_CHANNELS),
        table.number("range_v", range_v, above=0.0),
        table.number("offset_v", 0.0),
        table.number("attenuation", 1.0, above=0.0),
        table.maybe("bandwidth_hz", above=0.0),
        deskew_s=deskew_s,
    )


def _place(channel: ChannelSetting) -> str:
    """Name a channel and what its probe makes of a voltage."""
    probe = f"channel {channel.number} ({channel.attenuation:g}:1"
    return f"{probe}, offset {channel.offset_v:g} V)" if channel.offset_v else f"{probe})"


def _supply(options: Options) -> tuple[ChannelSetting | None, float, float | None, float]:
    if ("voltage" in options) == ("supply_v" in options):
        options.fail(
            "give either voltage = {channel = ...} or supply_v, the voltage of a supply that is known"
        )
    if "voltage" in options:
        if "supply_tolerance" in options:
            options.fail("supply_tolerance belongs to supply_v, but the voltage is measured")
        table = options.table("voltage")
        channel = _channel(table, VOLTAGE_RANGE_V)
        tolerance = table.number("tolerance", 0.0, low=0.0, high=0.5)
        table.done()
        return channel, tolerance, None, 0.0
    supply_v = options.number("supply_v", above=0.0)
    return None, 0.0, supply_v, options.number("supply_tolerance", low=0.0, high=0.5)


def _marker(options: Options) -> tuple[ChannelSetting | None, float]:
    if "marker" not in options:
        return None, 0.0
    table = options.table("marker")
    channel, level_v = _channel(table, MARKER_RANGE_V), table.number("level_v")
    table.done()
    if abs(level_v - channel.offset_v) > 0.5 * channel.range_v:
        options.fail(f"the marker's level_v, {level_v:g} V, is off its screen of {channel.range_v:g} V")
    return channel, level_v
