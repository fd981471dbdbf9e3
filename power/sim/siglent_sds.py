"""Simulated newer Siglent oscilloscopes: an SDS814X HD, and an SDS2104X Plus for converters of 8 bits."""

from __future__ import annotations

from typing import ClassVar, Unpack

import numpy as np

from power.drivers.common.scope import ChannelSetting, ScopeModel
from power.drivers.common.siglent_models import (
    COLUMNS,
    FAMILIES,
    LONGEST_DIV_S,
    SHORTEST_DIV_S,
    Family,
    limits,
    modelled,
)
from power.drivers.common.siglent_wavedesc import Wavedesc
from power.drivers.common.single_shot import ROWS, parse_value, step_up
from power.drivers.siglent_sds import depth_text
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings
from power.sim.common.scpi import ScpiError, command, number, on_off, word
from power.sim.common.siglent_wavedesc import packed
from power.sim.common.single_shot import SimulatedSingleShot
from power.specification import Specified

ILLEGAL = -224


class SimulatedSiglentSds(SimulatedSingleShot):
    """An SDS814X HD: four channels, 12 bits. Blocks of data end with two newlines, the preamble's with one."""

    driver = "siglent-sds"
    idn = "Siglent Technologies,SDS814X HD,{serial},4.8.12.1.1.6.5"
    family: ClassVar[Family] = FAMILIES[0]
    model = ScopeModel("SDS814X HD", 4, FAMILIES[0].depths[0], FAMILIES[0].rates_hz[1], ROWS * 480)
    clock_ppm = 25.0
    divisions = COLUMNS
    most_points: ClassVar[int] = 5_000_000
    """That one block of data holds."""
    accepted = (
        "CHANnel<n>:COUPling",
        "CHANnel<n>:IMPedance",
        "CHANnel<n>:INVert",
        "CHANnel<n>:UNIT",
        "TRIGger:TYPE",
        "TRIGger:EDGE:SOURce",
        "TRIGger:EDGE:SLOPe",
        "TRIGger:EDGE:LEVel",
        "SYSTem:REMote",
    )

    def __init__(self, load: Load, **settings: Unpack[ScopeSettings]) -> None:
        super().__init__(load, **settings)
        self._depth = self.family.depths[-1][0]
        self._manages_depth = False
        self._mode = "AUTO"
        self._source, self._is_word = 1, False
        self._first, self._step, self._count = 0, 1, 0

    @property
    def beyond(self) -> float:  # type: ignore[override]
        """The converter's codes go a little beyond the screen."""
        return 2.0**self.family.bits / (ROWS * self.family.codes_per_div)

    @property
    def options(self) -> dict[str, object]:
        """The VISA address and what the probes are on; there is no high resolution."""
        return {**super().options, "acquisition": "sample"}

    def limits(self, setting: ChannelSetting) -> Specified:
        """Return what the driver specifies."""
        return limits(setting, is_hd=self.family.bits > 8)

    @command("TRIGger:RUN")
    def run(self, argument: str) -> None:
        """Acquire: once in mode SINGle, else again and again."""
        if self._mode != "SING":
            self.set_running(True)

    @command("TRIGger:STOP")
    def stop_acquisition(self, argument: str) -> None:
        """Acquire no more."""
        self.set_running(False)

    @command("TRIGger:MODE")
    def trigger_mode(self, argument: str) -> None:
        """Choose the mode; SINGle arms, FTRIG triggers."""
        chosen = word(argument, "AUTO", "NORMal", "SINGle", "FTRIG")
        if chosen == "FTRIG":
            self.force()
            return
        self._mode = chosen
        if chosen == "SING":
            self.begin()

    @command("TRIGger:STATus?")
    def trigger_status(self, argument: str) -> str:
        """Tell what it does."""
        return {"running": "Auto", "armed": "Ready", "triggered": "Trig'd", "stopped": "Stop"}[self.doing]

    @command("CHANnel<n>:SWITch")
    def switch(self, argument: str, channel: int) -> None:
        """Switch a channel."""
        self.channel(channel).is_on = on_off(argument)

    @command("CHANnel<n>:BWLimit")
    def bandwidth(self, argument: str, channel: int) -> None:
        """Choose the limit."""
        self.channel(channel).bandwidth_hz = {"20M": 20e6, "200M": 200e6}.get(
            word(argument, "20M", "200M", "FULL")
        )

    @command("CHANnel<n>:PROBe")
    def attenuation(self, argument: str, channel: int) -> None:
        """Take VALue,<ratio>, which scales the range."""
        keyword, _, ratio = argument.partition(",")
        word(keyword, "VALue")
        self.attenuate(channel, number(ratio, 1e-6, 1e6))

    @command("CHANnel<n>:PROBe?")
    def attenuation_now(self, argument: str, channel: int) -> str:
        """Tell the probe's ratio."""
        return _nr3(self.channel(channel).attenuation)

    @command("CHANnel<n>:SCALe")
    def scale(self, argument: str, channel: int) -> None:
        """Choose the range, in steps of 1-2-5."""
        ratio = self.channel(channel).attenuation
        self.set_scale(channel, number(argument, 5e-4 * ratio, 10.0 * ratio))

    @command("CHANnel<n>:SCALe?")
    def scale_now(self, argument: str, channel: int) -> str:
        """Tell the range."""
        return _nr3(self.scale_v(channel))

    @command("CHANnel<n>:OFFSet")
    def offset(self, argument: str, channel: int) -> None:
        """Move the trace up."""
        self.channel(channel).offset_v = -number(argument, -1e3, 1e3)

    @command("CHANnel<n>:SKEW")
    def deskew(self, argument: str, channel: int) -> None:
        """Move the trace in time."""
        self.channel(channel).deskew_s = number(argument, -1e-7, 1e-7)

    @command("TIMebase:SCALe")
    def time_scale(self, argument: str) -> None:
        """Choose the time base."""
        self.div_s = step_up(number(argument, SHORTEST_DIV_S, LONGEST_DIV_S))

    @command("TIMebase:SCALe?")
    def time_scale_now(self, argument: str) -> str:
        """Tell the time base."""
        return _nr3(self.div_s)

    @command("TIMebase:DELay")
    def delay(self, argument: str) -> None:
        """Say how long after the trigger the middle of the screen is."""
        self.delay_s = number(argument, -0.5 * self.length_s, 5e3 * self.div_s)

    @command("ACQuire:TYPE")
    def acquisition_type(self, argument: str) -> None:
        """Samples only."""
        word(argument, "NORMal")

    @command("ACQuire:SEQuence")
    def sequence(self, argument: str) -> None:
        """No segments."""
        if on_off(argument):
            raise ScpiError(ILLEGAL, f"Illegal parameter value; {argument}")

    @command("ACQuire:MMANagement")
    def memory_management(self, argument: str) -> None:
        """Choose what is kept when the time base changes."""
        self._manages_depth = word(argument, "AUTO", "FSRate", "FMDepth") == "FMD"

    @command("ACQuire:MDEPth")
    def memory_depth(self, argument: str) -> None:
        """Choose the memory depth; passed over without a word unless it runs and manages the depth."""
        if not (self._manages_depth and self.runs):
            return
        points = round(parse_value(argument, "MDEPth", "the simulation"))
        if points not in self.model_now().record_lengths:
            raise ScpiError(ILLEGAL, f"Illegal parameter value; {argument}")
        self._depth = points

    @command("ACQuire:MDEPth?")
    def memory_depth_now(self, argument: str) -> str:
        """Tell the memory depth."""
        return depth_text(self._depth)

    @command("ACQuire:SRATe?")
    def sample_rate(self, argument: str) -> str:
        """Tell the rate."""
        return _nr3(self.points_now() / self.length_s)

    @command("ACQuire:POINts?")
    def points_on_screen(self, argument: str) -> str:
        """Tell how many points were acquired."""
        return _nr3(self.points_ready)

    @command("WAVeform:SOURce")
    def source(self, argument: str) -> None:
        """Choose a channel."""
        self._source = self.channel_named(argument, "C")

    @command("WAVeform:WIDTh")
    def width(self, argument: str) -> None:
        """Choose bytes or words."""
        self._is_word = word(argument, "BYTE", "WORD") == "WORD"

    @command("WAVeform:BYTeorder")
    def byte_order(self, argument: str) -> None:
        """Low byte first only."""
        word(argument, "LSB")

    @command("WAVeform:STARt")
    def first_point(self, argument: str) -> None:
        """Choose the first point, from 0."""
        self._first = round(number(argument, 0, 1e9))

    @command("WAVeform:INTerval")
    def interval(self, argument: str) -> None:
        """Choose every how many-th point is sent."""
        self._step = round(number(argument, 1, 1e6))

    @command("WAVeform:POINt")
    def point_count(self, argument: str) -> None:
        """Choose how many points are sent; 0 is all."""
        self._count = round(number(argument, 0, 1e9))

    @command("WAVeform:MAXPoint?")
    def most_points_now(self, argument: str) -> str:
        """Tell how many points fit into a block."""
        told = _nr3(self.most_points)
        return told if float(told) == self.most_points else str(self.most_points)

    @command("WAVeform:PREamble?")
    def preamble(self, argument: str) -> bytes:
        """Send the 346 bytes of WAVEDESC."""
        channel, record = self.channels[self._source], self.record
        told = Wavedesc(
            width=int(self._is_word),
            big_endian=False,
            points=self.points_ready,
            first=self._first,
            step=self._step,
            div_v=channel.range_v / ROWS / channel.attenuation,
            offset_v=-channel.offset_v / channel.attenuation,
            codes_per_div=float(self.family.codes_per_div * self._steps_a_code),
            interval_s=record.interval_s,
            delay_s=(0.5 - record.pretrigger) * record.duration_s,
            probe=channel.attenuation,
        )
        return self.block(packed(told))

    @command("WAVeform:DATA?")
    def data(self, argument: str) -> bytes:
        """Send points, at most a block of them; none while it is at work."""
        count = min(self.sendable(self._first, self._count), self.most_points)
        codes = self.codes(self._source, self._first, count, ROWS * self.family.codes_per_div)
        made = codes * self._steps_a_code
        return self.block(made.astype("<i2" if self._is_word else np.int8).tobytes()) + b"\n"

    @property
    def _steps_a_code(self) -> int:
        return 2 ** (16 - self.family.bits) if self._is_word else 1

    def model_now(self) -> ScopeModel:
        """Return what the family can do."""
        return modelled(self.family, "", len(self.channels), len(self.channels_on))

    def points_now(self) -> int:
        """Return the memory depth, less if the time base is faster than the converter."""
        return self.at_most(self._depth)


class SimulatedSds2000xPlus(SimulatedSiglentSds):
    """An SDS2104X Plus: four channels, 8 bits."""

    idn = "Siglent Technologies,SDS2104X Plus,{serial},1.5.2R3"
    family = FAMILIES[3]
    model = ScopeModel("SDS2104X Plus", 4, FAMILIES[3].depths[0], FAMILIES[3].rates_hz[1], ROWS * 30)


def _nr3(value: float) -> str:
    return f"{value:.2E}"
