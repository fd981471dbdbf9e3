"""What simulated Rigol oscilloscopes have in common: time base, memory, trigger states, preamble and batches."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Unpack

import numpy as np

from power.drivers.common.rigol import ATTENUATIONS, CODES_PER_DIV, LAST_CODE, RigolScope
from power.drivers.common.scope import ChannelSetting, Mode, Record, ScopeModel
from power.drivers.common.single_shot import ROWS, step_up
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings, SimulatedScope
from power.sim.common.scpi import ScpiError, command, number, on_off, word
from power.specification import Specified

CENTRE_CODE = 127
"""yreference: the byte that stands for the middle of the screen."""
SCREEN_POINTS = 100
"""Points a square that mode NORMal shows."""
OUT_OF_RANGE, CONFLICT = -222, -221
PLAIN = (
    "CHANnel<n>:COUPling",
    "CHANnel<n>:INVert",
    "CHANnel<n>:UNITs",
    "TRIGger:MODE",
    "TRIGger:EDGe:SOURce",
    "TRIGger:EDGe:SLOPe",
    "TRIGger:EDGe:LEVel",
    "TIMebase:MODE",
)
WaveMode = Literal["NORM", "MAX", "RAW"]


class SimulatedRigol(SimulatedScope):
    """Depths and rates depend on the channels that are on, as the driver class knows them."""

    driver_class: ClassVar[type[RigolScope]]
    beyond = 258.0 / (ROWS * CODES_PER_DIV)
    blocks_of_digits = 9

    def __init__(self, load: Load, **settings: Unpack[ScopeSettings]) -> None:
        super().__init__(load, **settings)
        self._reader = self.driver_class("", self.timebase)
        self._div_s, self._position_s = 1e-3, 0.0
        self._depth: int | None = None
        self._mode: Mode = "sample"
        self._runs = True
        self._source, self._wave_mode, self._is_word = 1, "NORM", False
        self._first, self._last = 1, 1

    @property
    def options(self) -> dict[str, object]:
        """The VISA address and what the probes are on; the shunt's range is one that 8 bits see enough of."""
        return with_range(super().options)

    def limits(self, setting: ChannelSetting) -> Specified:
        """Return what the driver specifies."""
        return self._reader.specified(setting)

    @command(*PLAIN)
    def accept(self, argument: str, *numbers: int) -> None:
        """Take a setting that this simulation always has."""

    @command("RUN")
    def run(self, argument: str) -> None:
        """Acquire again and again."""
        self.halt()
        self._runs = True

    @command("STOP")
    def stop_acquisition(self, argument: str) -> None:
        """Acquire no more."""
        self.halt()
        self._runs = False

    @command("SINGle")
    def single(self, argument: str) -> None:
        """Wait for one trigger."""
        length_s = self._reader.divisions * self._div_s
        points = self._points_now()
        self.record = Record(points, length_s / points, self._mode, 0.5 - self._position_s / length_s)
        self._runs = False
        self.arm()

    @command("TFORce")
    def force_trigger(self, argument: str) -> None:
        """Trigger now."""
        self.force()

    @command("TRIGger:STATus?")
    def trigger_status(self, argument: str) -> str:
        """Tell what it does."""
        if self._runs:
            return "AUTO"
        return {"armed": "WAIT", "triggered": "TD", "stopped": "STOP"}[self.state]

    @command("CHANnel<n>:DISPlay")
    def display(self, argument: str, channel: int) -> None:
        """Switch a channel."""
        self.channels[channel].is_on = on_off(argument)

    @command("CHANnel<n>:BWLimit")
    def bandwidth(self, argument: str, channel: int) -> None:
        """Choose the limit."""
        self.channels[channel].bandwidth_hz = 20e6 if word(argument, "20M", "OFF") == "20M" else None

    @command("CHANnel<n>:PROBe")
    def attenuation(self, argument: str, channel: int) -> None:
        """Choose the probe, which scales the range."""
        value = number(argument, 0.01, 1000.0)
        if not any(math.isclose(value, one) for one in ATTENUATIONS):
            raise ScpiError(OUT_OF_RANGE, f"Data out of range; {argument}")
        here = self.channels[channel]
        here.range_v *= value / here.attenuation
        here.attenuation = value

    @command("CHANnel<n>:SCALe")
    def scale(self, argument: str, channel: int) -> None:
        """Choose the range, in steps of 1-2-5."""
        here = self.channels[channel]
        value = number(argument, 1e-3 * here.attenuation, 10.0 * here.attenuation)
        here.range_v = ROWS * step_up(value)

    @command("CHANnel<n>:SCALe?")
    def scale_now(self, argument: str, channel: int) -> str:
        """Tell the range."""
        return f"{self.channels[channel].range_v / ROWS:.6e}"

    @command("CHANnel<n>:OFFSet")
    def offset(self, argument: str, channel: int) -> None:
        """Move the trace up, by whole steps of the converter."""
        step_v = self.channels[channel].range_v / ROWS / CODES_PER_DIV
        self.channels[channel].offset_v = -round(number(argument, -1e3, 1e3) / step_v) * step_v

    @command("CHANnel<n>:TCAL", "CHANnel<n>:TCALibrate")
    def deskew(self, argument: str, channel: int) -> None:
        """Move the trace in time."""
        self.channels[channel].deskew_s = number(argument, -1e-7, 1e-7)

    @command("TIMebase:MAIN:SCALe")
    def time_scale(self, argument: str) -> None:
        """Choose the time base."""
        value = number(argument, self._reader.shortest_div_s, self._reader.longest_div_s)
        self._div_s = step_up(value)

    @command("TIMebase:MAIN:SCALe?")
    def time_scale_now(self, argument: str) -> str:
        """Tell the time base."""
        return f"{self._div_s:.6e}"

    @command("TIMebase:MAIN:OFFSet")
    def position(self, argument: str) -> None:
        """Say how long after the trigger the middle of the screen is."""
        self._position_s = number(argument, -0.5 * self._reader.divisions * self._div_s, 5000.0)

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
        if not self._runs:
            raise ScpiError(CONFLICT, "Settings conflict; stopped")
        if argument.upper() == "AUTO":
            self._depth = None
            return
        points = self._parsed_depth(argument)
        if points not in self._model_now().record_lengths:
            raise ScpiError(OUT_OF_RANGE, f"Data out of range; {argument}")
        self._depth = points

    @command("ACQuire:MDEPth?")
    def memory_depth_now(self, argument: str) -> str:
        """Tell the memory depth."""
        return "AUTO" if self._depth is None else self._shown_depth(self._depth)

    @command("ACQuire:SRATe?")
    def sample_rate(self, argument: str) -> str:
        """Tell the rate."""
        rate_hz = self._points_now() / (self._reader.divisions * self._div_s)
        return f"{min(rate_hz, self._model_now().most_rate_hz):.6e}"

    @command("WAVeform:SOURce")
    def source(self, argument: str) -> None:
        """Choose a channel."""
        self._source = int(word(argument, *(f"CHANnel{n}" for n in self.channels))[-1])

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
        step_v = channel.range_v / ROWS / CODES_PER_DIV
        kind = {"NORM": 0, "MAX": 1, "RAW": 2}[self._wave_mode]
        interval_s = record.interval_s if kind == 2 else self._div_s / SCREEN_POINTS
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
        return SCREEN_POINTS * self._reader.divisions

    def _model_now(self) -> ScopeModel:
        on = [number for number, channel in self.channels.items() if channel.is_on]
        return self.driver_class("", self.timebase, channels=on).modelled("", len(self.channels))

    def _points_now(self) -> int:
        if self._depth is not None:
            return self._depth
        return self._model_now().record_lengths[0]

    def _parsed_depth(self, argument: str) -> int:
        return round(number(argument, 1, 1e9))

    def _shown_depth(self, points: int) -> str:
        return str(points)


def with_range(options: dict[str, object]) -> dict[str, object]:
    """Return settings with a range of the shunt's channel that suits a board of some watts."""
    current = options.get("current")
    if isinstance(current, dict) and "shunt_ohm" in current:
        return {**options, "current": {**current, "range_v": 0.08}}
    return options
