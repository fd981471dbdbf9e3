"""A simulated Siglent SDS1104X-E."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from power.drivers.common.scope import ChannelSetting, ScopeModel
from power.drivers.common.single_shot import ROWS, parse_value, step_up
from power.drivers.siglent_sds_legacy import (
    ATTENUATIONS,
    CODES_PER_DIV,
    COLUMNS,
    DEPTHS,
    HALF_DEPTHS,
    LONGEST_DIV_S,
    SHORTEST_DIV_S,
    limits,
    modelled,
)
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings
from power.sim.common.scpi import ScpiError, command, number, on_off, word
from power.sim.common.single_shot import SimulatedSingleShot
from power.specification import Specified


class SimulatedSiglentSdsLegacy(SimulatedSingleShot):
    """Four channels, 8 bits, 14 M points for each pair of channels. What is out of range is passed over without a word."""

    driver = "siglent-sds-legacy"
    idn = "Siglent Technologies,SDS1104X-E,{serial},8.3.6.1.37R8"
    model = ScopeModel("SDS1104X-E", 4, tuple(DEPTHS.values()), 5e8, ROWS * CODES_PER_DIV)
    clock_ppm = 25.0
    divisions = COLUMNS
    beyond = 256.0 / (ROWS * CODES_PER_DIV)
    accepted = (
        "C<n>:CPL",
        "C<n>:INVS",
        "C<n>:UNIT",
        "C<n>:TRSL",
        "C<n>:TRLV",
        "TRSE",
    )

    def __init__(self, load: Load, **settings: Unpack[ScopeSettings]) -> None:
        super().__init__(load, **settings)
        self._has_header = True
        self._size = "14K"
        self._mode = "AUTO"
        self._first, self._count, self._step = 0, 0, 1

    @property
    def options(self) -> dict[str, object]:
        """The VISA address and what the probes are on; there is no high resolution."""
        return {**super().options, "acquisition": "sample"}

    def limits(self, setting: ChannelSetting) -> Specified:
        """Return what the driver specifies."""
        return limits(setting)

    @command("CHDR", "COMM_HEADER")
    def header(self, argument: str) -> None:
        """Choose whether answers begin with their command."""
        self._has_header = word(argument, "OFF", "SHORT", "LONG") != "OFF"

    @command("ACQW")
    def acquire_way(self, argument: str) -> None:
        """Samples only."""
        word(argument, "SAMPLING")

    @command("TRMD")
    def trigger_mode(self, argument: str) -> None:
        """Choose the mode; all but STOP acquire at once."""
        self._mode = word(argument, "AUTO", "NORM", "SINGLE", "STOP")
        self.set_running(self._mode in ("AUTO", "NORM"))
        if self._mode == "SINGLE":
            self.begin()

    @command("ARM")
    def arm_acquisition(self, argument: str) -> None:
        """Acquire in the mode there is."""
        if self._mode == "SINGLE":
            self.begin()

    @command("STOP")
    def stop_acquisition(self, argument: str) -> None:
        """Acquire no more."""
        self.set_running(False)

    @command("FRTR")
    def force_trigger(self, argument: str) -> None:
        """Trigger now."""
        self.force()

    @command("SAST?")
    def status(self, argument: str) -> str:
        """Tell what it does."""
        words = {"running": "Auto", "armed": "Ready", "triggered": "Trig'd", "stopped": "Stop"}
        return self._told("SAST", words[self.doing])

    @command("C<n>:TRA")
    def trace(self, argument: str, channel: int) -> None:
        """Switch a channel."""
        self.channel(channel).is_on = on_off(argument)

    @command("BWL")
    def bandwidth(self, argument: str) -> None:
        """Take channel,ON or OFF."""
        name, _, state = argument.partition(",")
        self.channels[self.channel_named(name, "C")].bandwidth_hz = 20e6 if on_off(state) else None

    @command("C<n>:ATTN")
    def attenuation(self, argument: str, channel: int) -> None:
        """Choose the probe, which scales the range."""
        value = number(argument, 0.1, 10_000.0)
        if any(abs(value - one) < 1e-6 * one for one in ATTENUATIONS):
            self.attenuate(channel, value)

    @command("C<n>:ATTN?")
    def attenuation_now(self, argument: str, channel: int) -> str:
        """Tell the probe."""
        return self._told(f"C{channel}:ATTN", f"{self.channel(channel).attenuation:g}")

    @command("C<n>:VDIV")
    def scale(self, argument: str, channel: int) -> None:
        """Choose the range, in steps of 1-2-5."""
        ratio = self.channel(channel).attenuation
        self.set_scale(channel, min(max(number(argument, 0.0, 1e6), 5e-4 * ratio), 10.0 * ratio))

    @command("C<n>:VDIV?")
    def scale_now(self, argument: str, channel: int) -> str:
        """Tell the range."""
        return self._told(f"C{channel}:VDIV", f"{self.scale_v(channel):.2E}", "V")

    @command("C<n>:OFST")
    def offset(self, argument: str, channel: int) -> None:
        """Move the trace up; answers have three digits, so it does too."""
        self.channel(channel).offset_v = -float(f"{number(argument, -1e3, 1e3):.2E}")

    @command("C<n>:OFST?")
    def offset_now(self, argument: str, channel: int) -> str:
        """Tell how far the trace is moved up."""
        return self._told(f"C{channel}:OFST", f"{-self.channel(channel).offset_v:.2E}", "V")

    @command("C<n>:SKEW")
    def deskew(self, argument: str, channel: int) -> None:
        """Move the trace in time."""
        self.channel(channel).deskew_s = parse_value(argument, "SKEW", "the simulation")

    @command("TDIV")
    def time_scale(self, argument: str) -> None:
        """Choose the time base."""
        value = parse_value(argument, "TDIV", "the simulation")
        self.div_s = step_up(min(max(value, SHORTEST_DIV_S), LONGEST_DIV_S))

    @command("TDIV?")
    def time_scale_now(self, argument: str) -> str:
        """Tell the time base."""
        return self._told("TDIV", f"{self.div_s:.2E}", "S")

    @command("TRDL")
    def delay(self, argument: str) -> None:
        """Say how long after the trigger the middle of the screen is."""
        self.delay_s = float(f"{parse_value(argument, 'TRDL', 'the simulation'):.2E}")

    @command("TRDL?")
    def delay_now(self, argument: str) -> str:
        """Tell how long after the trigger the middle of the screen is."""
        return self._told("TRDL", f"{self.delay_s:.2E}", "S")

    @command("MSIZ")
    def memory_size(self, argument: str) -> None:
        """Choose the memory size, which is taken while it runs only."""
        sizes = {**DEPTHS, **HALF_DEPTHS}
        size = argument.upper()
        if self.runs and size in sizes and sizes[size] in self.model_now().record_lengths:
            self._size = size

    @command("MSIZ?")
    def memory_size_now(self, argument: str) -> str:
        """Tell the memory size."""
        return self._told("MSIZ", self._size)

    @command("SARA?")
    def sample_rate(self, argument: str) -> str:
        """Tell the rate of the acquisition in memory."""
        return self._told("SARA", f"{1.0 / self.record.interval_s:.2E}", "Sa/s")

    @command("SANU?")
    def sample_count(self, argument: str) -> str:
        """Tell how many points of the last acquisition there are."""
        return self._told("SANU", f"{self.points_ready:.2E}", "pts")

    @command("WFSU")
    def waveform_setup(self, argument: str) -> None:
        """Take SP, NP and FP with their numbers: step, count, first."""
        fields = [field.strip() for field in argument.split(",")]
        given = dict(zip(fields[::2], (int(number(field, 0, 1e9)) for field in fields[1::2]), strict=True))
        if set(given) - {"SP", "NP", "FP"}:
            raise ScpiError(-224, f"Illegal parameter value; {argument}")
        self._step = max(1, given.get("SP", self._step))
        self._count, self._first = given.get("NP", self._count), given.get("FP", self._first)

    @command("C<n>:WF?")
    def waveform(self, argument: str, channel: int) -> bytes:
        """Send points after a text, with two newlines at the end; none while it is at work."""
        word(argument, "DAT2")
        count = self.sendable(self._first, self._count)
        codes = self.codes(channel, self._first, count, ROWS * CODES_PER_DIV)[:: self._step]
        text = f"C{channel}:WF DAT2,".encode() if self._has_header else b"DAT2,"
        return text + self.block(codes.astype(np.int8).tobytes()) + b"\n"

    def model_now(self) -> ScopeModel:
        """Return what the pairs of channels can do."""
        return modelled("", len(self.channels), self.channels_on)

    def points_now(self) -> int:
        """Return the memory size, less if the time base is faster than the converter."""
        return self.at_most({**DEPTHS, **HALF_DEPTHS}[self._size])

    def _told(self, name: str, value: str, unit: str = "") -> str:
        return f"{name} {value}{unit}" if self._has_header else value
