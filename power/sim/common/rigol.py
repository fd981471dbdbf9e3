"""What simulated Rigol oscilloscopes have in common: time base, memory, trigger states, preamble and batches."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Unpack

import numpy as np

from power.drivers.common.rigol import ATTENUATIONS, CODES_PER_DIV, LAST_CODE, RigolScope
from power.drivers.common.scope import ChannelSetting, Mode, ScopeModel
from power.drivers.common.single_shot import ROWS, step_up
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings
from power.sim.common.scpi import ScpiError, command, number, on_off, word
from power.sim.common.single_shot import SimulatedSingleShot
from power.specification import Specified

CENTRE_CODE = 127
"""yreference: the byte that stands for the middle of the screen."""
SCREEN_POINTS = 100
"""Points a square that mode NORMal shows."""
OUT_OF_RANGE, CONFLICT = -222, -221
WaveMode = Literal["NORM", "MAX", "RAW"]


class SimulatedRigol(SimulatedSingleShot):
    """Depths and rates depend on the channels that are on, as the driver class knows them."""

    driver_class: ClassVar[type[RigolScope]]
    beyond = 258.0 / (ROWS * CODES_PER_DIV)
    blocks_of_digits = 9
    accepted = (
        "CHANnel<n>:COUPling",
        "CHANnel<n>:INVert",
        "CHANnel<n>:UNITs",
        "TRIGger:MODE",
        "TRIGger:EDGe:SOURce",
        "TRIGger:EDGe:SLOPe",
        "TRIGger:EDGe:LEVel",
        "TIMebase:MODE",
    )

    def __init__(self, load: Load, **settings: Unpack[ScopeSettings]) -> None:
        super().__init__(load, **settings)
        self._reader = self.driver_class("", self.timebase)
        self.divisions = self._reader.divisions
        self._depth: int | None = None
        self._mode: Mode = "sample"
        self._source, self._wave_mode, self._is_word = 1, "NORM", False
        self._first, self._last = 1, 1

    def limits(self, setting: ChannelSetting) -> Specified:
        """Return what the driver specifies."""
        return self._reader.specified(setting)

    @command("RUN")
    def run(self, argument: str) -> None:
        """Acquire again and again."""
        self.set_running(True)

    @command("STOP")
    def stop_acquisition(self, argument: str) -> None:
        """Acquire no more."""
        self.set_running(False)

    @command("SINGle")
    def single(self, argument: str) -> None:
        """Wait for one trigger."""
        self.begin(self._mode)

    @command("TFORce")
    def force_trigger(self, argument: str) -> None:
        """Trigger now."""
        self.force()

    @command("TRIGger:STATus?")
    def trigger_status(self, argument: str) -> str:
        """Tell what it does."""
        return {"running": "AUTO", "armed": "WAIT", "triggered": "TD", "stopped": "STOP"}[self.doing]

    @command("CHANnel<n>:DISPlay")
    def display(self, argument: str, channel: int) -> None:
        """Switch a channel."""
        self.channel(channel).is_on = on_off(argument)

    @command("CHANnel<n>:BWLimit")
    def bandwidth(self, argument: str, channel: int) -> None:
        """Choose the limit."""
        self.channel(channel).bandwidth_hz = 20e6 if word(argument, "20M", "OFF") == "20M" else None

    @command("CHANnel<n>:PROBe")
    def attenuation(self, argument: str, channel: int) -> None:
        """Choose the probe, which scales the range."""
        value = number(argument, 0.01, 1000.0)
        if not any(math.isclose(value, one) for one in ATTENUATIONS):
            raise ScpiError(OUT_OF_RANGE, f"Data out of range; {argument}")
        self.attenuate(channel, value)

    @command("CHANnel<n>:SCALe")
    def scale(self, argument: str, channel: int) -> None:
        """Choose the range, in steps of 1-2-5."""
        ratio = self.channel(channel).attenuation
        self.set_scale(channel, number(argument, 1e-3 * ratio, 10.0 * ratio))

    @command("CHANnel<n>:SCALe?")
    def scale_now(self, argument: str, channel: int) -> str:
        """Tell the range."""
        return f"{self.scale_v(channel):.6e}"

    @command("CHANnel<n>:OFFSet")
    def offset(self, argument: str, channel: int) -> None:
        """Move the trace up, by whole steps of the converter."""
        step_v = self.scale_v(channel) / CODES_PER_DIV
        self.channel(channel).offset_v = -round(number(argument, -1e3, 1e3) / step_v) * step_v

    @command("CHANnel<n>:TCAL", "CHANnel<n>:TCALibrate")
    def deskew(self, argument: str, channel: int) -> None:
        """Move the trace in time."""
        self.channel(channel).deskew_s = number(argument, -1e-7, 1e-7)

    @command("TIMebase:MAIN:SCALe")
    def time_scale(self, argument: str) -> None:
        """Choose the time base."""
        value = number(argument, self._reader.shortest_div_s, self._reader.longest_div_s)
        self.div_s = step_up(value)

    @command("TIMebase:MAIN:SCALe?")
    def time_scale_now(self, argument: str) -> str:
        """Tell the time base."""
        return f"{self.div_s:.6e}"

    @command("TIMebase:MAIN:OFFSet")
    def position(self, argument: str) -> None:
        """Say how long after the trigger the middle of the screen is."""
        self.delay_s = number(argument, -0.5 * self.length_s, 5000.0)

    @command("ACQuire:TYPE")
    def acquisition_type(self, argument: str) -> None:
        """Choose samples or averages."""
        chosen = word(argument, "NORMal", "HRESolution", "PEAK", "AVERages")
        if chosen not in ("NORM", "HRES"):
            raise ScpiError(CONFLICT, f"Settings conflict; {argument}")
        self._mode = "hires" if chosen == "HRES" else "sample"

    @command("ACQuire:MDEPth")
    def memory_depth(self, argument: str) -> None:
        """Choose the memory depth, which is taken while it runs only."""
        if not self.runs:
            raise ScpiError(CONFLICT, "Settings conflict; stopped")
        if argument.upper() == "AUTO":
            self._depth = None
            return
        points = self._parsed_depth(argument)
        if points not in self.model_now().record_lengths:
            raise ScpiError(OUT_OF_RANGE, f"Data out of range; {argument}")
        self._depth = points

    @command("ACQuire:MDEPth?")
    def memory_depth_now(self, argument: str) -> str:
        """Tell the memory depth."""
        return "AUTO" if self._depth is None else self._shown_depth(self._depth)

    @command("ACQuire:SRATe?")
    def sample_rate(self, argument: str) -> str:
        """Tell the rate."""
        rate_hz = self.points_now() / self.length_s
        return f"{min(rate_hz, self.model_now().most_rate_hz):.6e}"

    @command("WAVeform:SOURce")
    def source(self, argument: str) -> None:
        """Choose a channel."""
        self._source = self.channel_named(argument, "CHANnel")

    @command("WAVeform:MODE")
    def wave_mode(self, argument: str) -> None:
        """Choose screen or memory."""
        self._wave_mode = word(argument, "NORMal", "MAXimum", "RAW")

    @command("WAVeform:FORMat")
    def wave_format(self, argument: str) -> None:
        """Choose bytes or words."""
        self._is_word = word(argument, "BYTE", "WORD") == "WORD"

    @command("WAVeform:STARt")
    def first_point(self, argument: str) -> None:
        """Choose the first point, from 1."""
        self._first = round(number(argument, 1, self._available()))

    @command("WAVeform:STOP")
    def last_point(self, argument: str) -> None:
        """Choose the last point."""
        self._last = round(number(argument, 1, self._available()))

    @command("WAVeform:PREamble?")
    def preamble(self, argument: str) -> str:
        """Tell format, type, points, count, and how to scale."""
        channel, record = self.channels[self._source], self.record
        step_v = self.scale_v(self._source) / CODES_PER_DIV
        kind = {"NORM": 0, "MAX": 1, "RAW": 2}[self._wave_mode]
        interval_s = record.interval_s if kind == 2 else self.div_s / SCREEN_POINTS
        start_s = -record.pretrigger * record.duration_s
        points = min(self._available(), self._last) - self._first + 1
        return (
            f"{int(self._is_word)},{kind},{points},1,{interval_s:.9e},{start_s:.9e},0,"
            f"{step_v:.6e},{round(-channel.offset_v / step_v)},{CENTRE_CODE}"
        )

    @command("WAVeform:DATA?")
    def data(self, argument: str) -> bytes:
        """Send points, at most a batch; nothing of the memory while it is at work."""
        count = self._last - self._first + 1
        if count > self._reader.batch_points:
            self.errors.append(ScpiError(OUT_OF_RANGE, "Data out of range; too many points"))
            return self.block(b"")
        if self._wave_mode == "RAW" and self.state != "stopped":
            return self.block(b"")
        codes = self.codes(self._source, self._first - 1, count, ROWS * CODES_PER_DIV) + CENTRE_CODE
        made = np.clip(codes, 0, LAST_CODE)
        return self.block(made.astype("<u2" if self._is_word else np.uint8).tobytes())

    def _available(self) -> int:
        if self._wave_mode == "RAW":
            return max(1, self.points_ready)
        return SCREEN_POINTS * self.divisions

    def model_now(self) -> ScopeModel:
        """Return what the driver knows."""
        driver = self.driver_class("", self.timebase, channels=self.channels_on)
        return driver.modelled("", len(self.channels))

    def points_now(self) -> int:
        """Return the memory depth that was chosen, or the least."""
        if self._depth is not None:
            return self._depth
        return self.model_now().record_lengths[0]

    def _parsed_depth(self, argument: str) -> int:
        return round(number(argument, 1, 1e9))

    def _shown_depth(self, points: int) -> str:
        return str(points)
