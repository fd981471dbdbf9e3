"""A simulated Keysight InfiniiVision: chooses its rate by time and memory, event registers, codes for what is off the screen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Unpack

import numpy as np

from power.drivers.common.scope import ChannelSetting, ScopeModel
from power.drivers.keysight_infiniivision import CODES, LONGEST_S, RUNNING, specified
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings, SimulatedScope
from power.sim.common.scpi import ScpiError, command, number, on_off, word
from power.specification import Specified

MEMORY_POINTS = 500_000


class SimulatedInfiniiVision(SimulatedScope):
    """`memory_points` is what two channels have each."""

    driver = "keysight-infiniivision"
    idn = "KEYSIGHT TECHNOLOGIES,DSO-X 2024A,{serial},02.50.2019022736"
    model = ScopeModel(
        "DSO-X 2024A", 4, (100, MEMORY_POINTS), 1e9, CODES, any_length=True, longest_s=LONGEST_S
    )
    clock_ppm = 25.0
    accepted = (
        "CHANnel<n>:IMPedance",
        "CHANnel<n>:COUPling",
        "CHANnel<n>:UNITs",
        "CHANnel<n>:BWLimit",
        "TIMebase:MODE",
        "TIMebase:REFerence",
        "ACQuire:MODE",
        "TRIGger:MODE",
        "TRIGger:EDGE:SOURce",
        "TRIGger:EDGE:LEVel",
        "TRIGger:SWEep",
        "WAVeform:POINts",
        "WAVeform:UNSigned",
    )

    def __init__(
        self, load: Load, *, memory_points: int = MEMORY_POINTS, **settings: Unpack[ScopeSettings]
    ) -> None:
        super().__init__(load, **settings)
        self._memory_points = memory_points
        self._span_s, self._position_s = 1e-3, 0.0
        self._kind, self._width, self._is_raw = "NORM", 1, False
        self._was_armed = self._was_triggered = False
        self._source = 1
        self._take()

    def limits(self, setting: ChannelSetting) -> Specified:
        """Those that the driver states."""
        return specified(setting)

    @command("CHANnel<n>:DISPlay")
    def display(self, argument: str, channel: int) -> None:
        """Show a channel."""
        self.channel(channel).is_on = on_off(argument)

    @command("CHANnel<n>:RANGe")
    def range(self, argument: str, channel: int) -> None:
        """Set what the screen shows, V at the probe's tip."""
        self.channel(channel).range_v = number(argument, 8e-3, 4e4)

    @command("CHANnel<n>:RANGe?")
    def range_now(self, argument: str, channel: int) -> str:
        """Tell what the screen shows."""
        return f"{self.channel(channel).range_v:+.2E}"

    @command("CHANnel<n>:OFFSet")
    def offset(self, argument: str, channel: int) -> None:
        """Set the voltage in the middle."""
        self.channel(channel).offset_v = number(argument, -1e4, 1e4)

    @command("CHANnel<n>:PROBe")
    def probe(self, argument: str, channel: int) -> None:
        """Set the attenuation."""
        self.channel(channel).attenuation = number(argument, 0.001, 1e4)

    @command("CHANnel<n>:PROBe:SKEW")
    def skew(self, argument: str, channel: int) -> None:
        """Set the delay that is taken off."""
        self.channel(channel).deskew_s = number(argument, -100e-9, 100e-9)

    @command("TIMebase:RANGe")
    def time_range(self, argument: str) -> None:
        """Set the time that the screen shows."""
        self._span_s = number(argument, 1e-8, LONGEST_S)
        self._take()

    @command("TIMebase:RANGe?")
    def time_range_now(self, argument: str) -> str:
        """Tell the time that the screen shows."""
        return f"{self._span_s:+.6E}"

    @command("TIMebase:POSition")
    def time_position(self, argument: str) -> None:
        """Set the time of the middle of the screen after the trigger."""
        self._position_s = number(argument, -LONGEST_S, LONGEST_S)
        self._take()

    @command("ACQuire:TYPE")
    def acquisition_type(self, argument: str) -> None:
        """Choose samples or averages between them."""
        self._kind = word(argument, "NORMal", "AVERage", "HRESolution", "PEAK")
        self._take()

    @command("ACQuire:SRATe?")
    def sample_rate(self, argument: str) -> str:
        """Tell the rate that follows."""
        return f"{1.0 / self.record.interval_s:+.6E}"

    @command("SINGle")
    def single(self, argument: str) -> None:
        """Acquire once."""
        self.arm()
        self._was_armed, self._was_triggered = True, False

    @command("STOP")
    def stop_now(self, argument: str) -> None:
        """Stop."""
        self.halt()

    @command("TRIGger:FORCe")
    def trigger(self, argument: str) -> None:
        """Force a trigger."""
        self.force()
        self._was_triggered = True

    @command("AER?")
    def arm_event(self, argument: str) -> str:
        """Tell and forget whether it was armed."""
        was, self._was_armed = self._was_armed, False
        return f"{int(was):+d}"

    @command("TER?")
    def trigger_event(self, argument: str) -> str:
        """Tell and forget whether it was triggered."""
        was, self._was_triggered = self._was_triggered, False
        return f"{int(was):+d}"

    @command("OPERegister:CONDition?")
    def condition(self, argument: str) -> str:
        """Tell whether it runs."""
        return f"{0 if self.state == 'stopped' else RUNNING:+d}"

    @command("WAVeform:POINts:MODE")
    def points_mode(self, argument: str) -> None:
        """Choose what is sent; all that was acquired is RAW."""
        self._is_raw = word(argument, "NORMal", "MAXimum", "RAW") == "RAW"

    @command("WAVeform:FORMat")
    def format(self, argument: str) -> None:
        """Choose bytes a point."""
        self._width = {"BYTE": 1, "WORD": 2}[word(argument, "BYTE", "WORD")]

    @command("WAVeform:BYTeorder")
    def byte_order(self, argument: str) -> None:
        """Take the order that drivers should take."""
        if word(argument, "LSBFirst", "MSBFirst") != "LSBF":
            raise ScpiError(-224, f"Illegal parameter value; {argument}")

    @command("WAVeform:SOURce")
    def source(self, argument: str) -> None:
        """Choose what is sent."""
        self._source = self.channel_named(argument, "CHANnel")

    @command("WAVeform:PREamble?")
    def preamble(self, argument: str) -> str:
        """Describe what :WAVeform:DATA? would send."""
        self._check_there()
        channel, record, unit = self.channels[self._source], self.record, 256 if self._width == 2 else 1
        kind = {"NORM": 0, "PEAK": 1, "AVER": 2, "HRES": 3}[self._kind]
        increment = channel.range_v / (CODES * unit)
        start_s = -record.pretrigger * record.duration_s
        fields = (
            f"{self._width - 1:+d},{kind:+d},{record.points:+d},+1,{record.interval_s:+.8E},{start_s:+.8E},+0",
            f"{increment:+.8E},{channel.offset_v:+.8E},{128 * unit:+d}",
        )
        return ",".join(fields)

    @command("WAVeform:DATA?")
    def data(self, argument: str) -> bytes:
        """Send all points."""
        self._check_there()
        unit = 256 if self._width == 2 else 1
        steps = CODES * unit
        codes = self.codes(self._source, 0, self.record.points, steps)
        half, last = round(0.5 * steps), 256 * unit - 1
        sent = np.where(codes >= half - unit, last, codes + 128 * unit)
        sent[codes <= -half] = 1
        return self.block(sent.astype("<u2" if self._width == 2 else "u1").tobytes())

    def _take(self) -> None:
        """Choose the highest rate, in steps of 1-2-5, at which the memory holds what the screen shows."""
        most_hz = min(self.model.most_rate_hz, self._memory_points / self._span_s)
        decade = 10.0 ** math.floor(math.log10(most_hz))
        rate_hz = max(step * decade for step in (1.0, 2.0, 5.0) if step * decade <= most_hz * (1 + 1e-9))
        self.record = replace(
            self.record,
            points=int(self._span_s * rate_hz + 0.5),
            interval_s=1.0 / rate_hz,
            mode="hires" if self._kind == "HRES" else "sample",
            pretrigger=min(1.0, max(0.0, 0.5 - self._position_s / self._span_s)),
        )

    def _check_there(self) -> None:
        if not self.points_ready or not self.channels[self._source].is_on:
            raise ScpiError(-230, "Data corrupt or stale")
        if not self._is_raw:
            raise ScpiError(-221, "Settings conflict; this simulation sends all points only")
