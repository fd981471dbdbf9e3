"""A simulated Tektronix MDO4054B: record lengths and time base in its steps, headers, events, preamble, curve."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Unpack

from power.drivers.common.scope import ChannelSetting
from power.drivers.tektronix_mdo4000 import (
    DIVISIONS_HIGH,
    DIVISIONS_WIDE,
    LEVELS_A_DIVISION,
    MODEL,
    RECORD_LENGTHS,
    scale_of,
    specified,
)
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings, SimulatedScope
from power.sim.common.scpi import ScpiError, command, number, on_off, word
from power.specification import Specified


class SimulatedMdo4000(SimulatedScope):
    """Headers are on, as a person finds it; `is_envelope` makes it send least and greatest values."""

    driver = "tektronix-mdo4000"
    idn = "TEKTRONIX,MDO4054B,{serial},CF:91.1CT FV:v3.14"
    model = MODEL
    clock_ppm = 5.0
    beyond = 1.024
    is_envelope: ClassVar[bool] = False
    accepted = (
        "CH<n>:POSition",
        "CH<n>:TERmination",
        "CH<n>:COUPling",
        "CH<n>:BANdwidth",
        "HORizontal:DELay:MODe",
        "TRIGger:A:TYPe",
        "TRIGger:A:EDGE:SOUrce",
        "TRIGger:A:MODe",
        "VERBose",
    )

    def __init__(self, load: Load, **settings: Unpack[ScopeSettings]) -> None:
        super().__init__(load, **settings)
        self._header = True
        self._scale_s = 1e-3
        self._length = 10_000
        self._mode = "SAM"
        self._source, self._width = 1, 1
        self._first, self._last = 1, 10_000
        self._levels: dict[int, float] = {}
        self._events: list[str] = []
        self._sent: dict[tuple[int, ...], bytes] = {}

    def limits(self, setting: ChannelSetting) -> Specified:
        """Those that the driver states."""
        return specified(setting)

    @command("HEADer")
    def header(self, argument: str) -> None:
        """Send headers or not."""
        self._header = on_off(argument)

    @command("HEADer?")
    def header_now(self, argument: str) -> str:
        """Tell whether headers are sent."""
        return self._said("HEADER", str(int(self._header)))

    @command("*ESR?")
    def event_status(self, argument: str) -> str:
        """Tell whether there were errors; the events can be read then."""
        self._events = [f"{error.number},{error.text!r}".replace("'", '"') for error in self.errors]
        self.errors.clear()
        return "32" if self._events else "0"

    @command("ALLEv?")
    def events(self, argument: str) -> str:
        """Return and remove the events."""
        found, self._events = self._events, []
        return self._said("ALLEV", ",".join(found) or '0,"No events to report - queue empty"')

    @command("SELect:CH<n>")
    def select(self, argument: str, channel: int) -> None:
        """Show a channel."""
        self.channel(channel).is_on = on_off(argument)

    @command("CH<n>:SCAle")
    def scale(self, argument: str, channel: int) -> None:
        """Set V/div at the probe's tip."""
        self.channel(channel).range_v = DIVISIONS_HIGH * number(argument, 1e-3, 1000.0)

    @command("CH<n>:SCAle?")
    def scale_now(self, argument: str, channel: int) -> str:
        """Tell V/div."""
        return self._said(f"CH{channel}:SCALE", f"{self.channel(channel).range_v / DIVISIONS_HIGH:.4E}")

    @command("CH<n>:OFFSet")
    def offset(self, argument: str, channel: int) -> None:
        """Set the voltage in the middle."""
        self.channel(channel).offset_v = number(argument, -1000.0, 1000.0)

    @command("CH<n>:PRObe:GAIN")
    def probe_gain(self, argument: str, channel: int) -> None:
        """Set output ÷ input of the probe."""
        self.channel(channel).attenuation = 1.0 / number(argument, 1e-4, 1e3)

    @command("CH<n>:PRObe:GAIN?")
    def probe_gain_now(self, argument: str, channel: int) -> str:
        """Tell output ÷ input of the probe."""
        return self._said(f"CH{channel}:PROBE:GAIN", f"{1.0 / self.channel(channel).attenuation:.4E}")

    @command("CH<n>:DESKew")
    def deskew(self, argument: str, channel: int) -> None:
        """Set the delay that is taken off."""
        self.channel(channel).deskew_s = number(argument, -125e-9, 125e-9)

    @command("TRIGger:A:LEVel:CH<n>")
    def level(self, argument: str, channel: int) -> None:
        """Set a trigger level, which the signal never reaches."""
        self._levels[channel] = number(argument, -1000.0, 1000.0)

    @command("HORizontal:POSition")
    def position(self, argument: str) -> None:
        """Set the part before the trigger, %."""
        self._take(pretrigger=number(argument, 0.0, 100.0) / 100.0)

    @command("HORizontal:RECOrdlength")
    def record_length(self, argument: str) -> None:
        """Choose one of the lengths; others become the next one."""
        wished = number(argument, 1, 1e9)
        self._length = next((one for one in RECORD_LENGTHS if one >= wished), RECORD_LENGTHS[-1])
        self._take()

    @command("HORizontal:RECOrdlength?")
    def record_length_now(self, argument: str) -> str:
        """Tell the length."""
        return self._said("HORIZONTAL:RECORDLENGTH", str(self.record.points))

    @command("HORizontal:SCAle")
    def time_scale(self, argument: str) -> None:
        """Set s/div, in its steps."""
        self._scale_s = scale_of(DIVISIONS_WIDE * number(argument, 4e-10, 1000.0))
        self._take()

    @command("HORizontal:SAMPLERate?")
    def sample_rate(self, argument: str) -> str:
        """Tell the rate that follows."""
        return self._said("HORIZONTAL:SAMPLERATE", f"{1.0 / self.record.interval_s:.6E}")

    @command("ACQuire:MODe")
    def acquisition_mode(self, argument: str) -> None:
        """Choose samples or averages between them."""
        self._mode = word(argument, "SAMple", "PEAKdetect", "HIRes", "AVErage", "ENVelope")
        self._take()

    @command("ACQuire:STOPAfter")
    def stop_after(self, argument: str) -> None:
        """Run on or stop after one acquisition."""
        word(argument, "RUNSTop", "SEQuence")

    @command("ACQuire:STATE")
    def acquisition(self, argument: str) -> None:
        """Run or stop."""
        if argument.strip().upper() in ("RUN", "ON", "1"):
            self._sent.clear()
            self.arm()
        else:
            self.halt()

    @command("ACQuire:STATE?")
    def acquisition_now(self, argument: str) -> str:
        """Tell whether it runs."""
        return self._said("ACQUIRE:STATE", "0" if self.state == "stopped" else "1")

    @command("ACQuire:NUMACq?")
    def acquisitions(self, argument: str) -> str:
        """Tell how many were finished since it was started."""
        return self._said("ACQUIRE:NUMACQ", str(int(self.points_ready > 0)))

    @command("TRIGger")
    def trigger(self, argument: str) -> None:
        """Force a trigger."""
        word(argument, "FORCe")
        self.force()

    @command("TRIGger:STATE?")
    def trigger_state(self, argument: str) -> str:
        """Tell what it waits for."""
        return self._said(
            "TRIGGER:STATE", {"armed": "READY", "triggered": "TRIGGER", "stopped": "SAVE"}[self.state]
        )

    @command("DATa:SOUrce")
    def source(self, argument: str) -> None:
        """Choose what is sent."""
        self._source = self.channel_named(argument, "CH")

    @command("DATa:ENCdg")
    def encoding(self, argument: str) -> None:
        """Choose the encoding; only the one that drivers should take is known."""
        if argument.strip().upper() not in ("SRIBINARY", "SRI"):
            raise ScpiError(-224, f"Illegal parameter value; {argument}")

    @command("DATa:WIDth")
    def width(self, argument: str) -> None:
        """Choose bytes a point."""
        self._width = int(number(argument, 1, 2))

    @command("DATa:STARt")
    def data_start(self, argument: str) -> None:
        """Choose the first point that is sent, from 1 on."""
        self._first = int(number(argument, 1, 1e9))

    @command("DATa:STOP")
    def data_stop(self, argument: str) -> None:
        """Choose the last point that is sent; it does not follow the record's length."""
        self._last = int(number(argument, 1, 1e9))

    @command("WFMOutpre?")
    def preamble(self, argument: str) -> str:
        """Describe what CURVe? would send."""
        self._check_there()
        channel = self.channels[self._source]
        steps = LEVELS_A_DIVISION[self._width] * DIVISIONS_HIGH
        about = (
            f'"Ch{self._source}, DC coupling, {channel.range_v / DIVISIONS_HIGH:.4g}V/div, {self._scale_s:g}s/div, '
            f'{self.record.points} points, {"Hi Res" if self._mode == "HIR" else "Sample"} mode"'
        )
        start_s = (
            -self.record.pretrigger * self.record.duration_s + (self._first - 1) * self.record.interval_s
        )
        fields = {
            "BYT_NR": self._width,
            "BIT_NR": 8 * self._width,
            "ENCDG": "BINARY",
            "BN_FMT": "RI",
            "BYT_OR": "LSB",
            "WFID": about,
            "NR_PT": self._end - self._first + 1,
            "PT_FMT": "ENV" if self.is_envelope or self._mode in ("PEAK", "ENV") else "Y",
            "PT_ORDER": "LINEAR",
            "XUNIT": '"s"',
            "XINCR": f"{self.record.interval_s:.10E}",
            "XZERO": f"{start_s:.10E}",
            "PT_OFF": 0,
            "YUNIT": '"V"',
            "YMULT": f"{channel.range_v / steps:.10E}",
            "YOFF": "0.0E+0",
            "YZERO": f"{channel.offset_v:.10E}",
            "DOMAIN": "TIME",
        }
        if not self._header:
            return ";".join(str(value) for value in fields.values())
        return ":WFMOUTPRE:" + ";".join(f"{name} {value}" for name, value in fields.items())

    @command("CURVe?")
    def curve(self, argument: str) -> bytes:
        """Send the points."""
        self._check_there()
        key = (self._acquisition, self._source, self._width, self._first, self._end)
        if key not in self._sent:
            steps = LEVELS_A_DIVISION[self._width] * DIVISIONS_HIGH
            codes = self.codes(self._source, self._first - 1, self._end - self._first + 1, steps)
            self._sent[key] = self.block(codes.astype("<i2" if self._width == 2 else "i1").tobytes())
        return (b":CURVE " if self._header else b"") + self._sent[key]

    @property
    def _end(self) -> int:
        return min(self._last, self.record.points)

    def _said(self, header: str, value: str) -> str:
        return f":{header} {value}" if self._header else value

    def _take(self, pretrigger: float | None = None) -> None:
        duration_s = DIVISIONS_WIDE * self._scale_s
        interval_s = max(duration_s / self._length, 1.0 / self.model.most_rate_hz)
        self.record = replace(
            self.record,
            points=self._length,
            interval_s=interval_s,
            mode="hires" if self._mode == "HIR" else "sample",
            pretrigger=self.record.pretrigger if pretrigger is None else pretrigger,
        )

    def _check_there(self) -> None:
        if not self.points_ready or not self.channels[self._source].is_on:
            raise ScpiError(2244, "Source waveform is not active")
        if self._first > self._end:
            raise ScpiError(-222, f"Data out of range; DATa:STARt {self._first}")
