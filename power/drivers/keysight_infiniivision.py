"""Keysight (Agilent) InfiniiVision oscilloscopes: 2000, 3000, 4000 and 6000 X-Series.

Source: Keysight "InfiniiVision 4000 X-Series Oscilloscopes Programmer's Guide" (and those of the other series), chapters
:ACQuire, :CHANnel, :TIMebase, :TRIGger, :WAVeform and "Status Reporting". Accuracy: the series' data sheets (DC vertical gain
±2 % of full scale, DC vertical offset ±0.1 div ±2 mV ±1 % of the offset, time base 25 ppm and better), not read again for
this driver: check them against yours, or state `accuracy` in farm.toml.

These scopes choose rate and memory themselves, by the time that the screen shows. A transfer of fewer points than were acquired
leaves points out, in high resolution too, so all of them are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from power.drivers.common.base import Start, wrong_instrument
from power.drivers.common.codes import Decoder, Scaling
from power.drivers.common.preamble import Preamble
from power.drivers.common.scope import ChannelSetting, Oscilloscope, Record, ScopeModel, Waveform
from power.drivers.common.scpi_instrument import ScpiInstrument
from power.errors import InstrumentError, ReplyInvalid
from power.meter import Identity
from power.options import Options
from power.specification import Specified
from power.timebase import Timebase
from power.transports.scpi import ScpiLink

NAME = re.compile(r"[DM]SO-?X ?([2346])\d\d([24])", re.IGNORECASE)
SERIES = {"2": (500_000, 1e9), "3": (2_000_000, 2e9), "4": (2_000_000, 2.5e9), "6": (2_000_000, 10e9)}
"""First digit of the model → most points and highest rate with two channels on; less where options are missing."""
CODES = 199
"""Steps of the converter from the bottom of the screen to its top."""
DIVISIONS_HIGH = 8
LONGEST_S = 500.0
BANDWIDTHS_HZ = (20e6, 25e6)
"""The one limit that can be switched on, by series."""
FORMATS = {1: (0, "BYTE", "u1"), 2: (1, "WORD", "<u2")}
"""Bytes a point → number in the preamble, name, codes."""
TYPES = {"sample": ("NORMal", (0,)), "hires": ("HRESolution", (0, 3))}
"""Mode → name, and numbers in the preamble: older firmware gives high resolution none of its own."""
PEAK = 1
RUNNING = 1 << 3
"""Bit of the Operation Status Condition Register."""
WAIT_S = 10.0
TRANSFER_S = 10.0
SLOWEST_BYTES_A_S = 2e5
POLL_S = 0.001
GAIN_OF_FULL_SCALE = 0.02
OFFSET_OF_OFFSET, DIVISIONS_OFF, OFF_V = 0.01, 0.1, 2e-3


class InfiniiVision(ScpiInstrument, Oscilloscope):
    """One oscilloscope; `resource` is its VISA address (the raw socket is port 5025)."""

    driver = "keysight-infiniivision"
    models = ("the 2000, 3000, 4000 and 6000 X-Series (DSO-X, MSO-X)",)
    clock_ppm = 25.0
    error_query = ":SYSTem:ERRor?"

    def __init__(self, resource: str, timebase: Timebase, *, link: ScpiLink | None = None) -> None:
        """`link` is for tests; else `resource` is opened by `connect`."""
        super().__init__(resource, timebase, link)
        self._model: ScopeModel | None = None
        self._record: Record | None = None

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource; the rest is the meter's."""
        return cls(options.text("resource"), timebase)

    @property
    def model(self) -> ScopeModel:
        """What its name says that it can do."""
        if self._model is None:
            raise InstrumentError(f"{self._where} is not connected.")
        return self._model

    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        """Set channels, time base, acquisition, a trigger that only a command sets off, and the transfer."""
        self._write([":STOP"])
        used = {channel.number for channel in channels}
        self._write(
            [
                f":CHANnel{number}:DISPlay {int(number in used)}"
                for number in range(1, self.model.channels + 1)
            ]
        )
        for channel in channels:
            self._set_channel(channel)
        first, span_s = channels[0], record.duration_s
        self._write(
            [
                ":TIMebase:MODE MAIN",
                ":TIMebase:REFerence CENTer",
                f":TIMebase:RANGe {span_s:.6G}",
                f":TIMebase:POSition {span_s * (0.5 - record.pretrigger):.6G}",
                ":ACQuire:MODE RTIMe",
                f":ACQuire:TYPE {TYPES[record.mode][0]}",
                ":TRIGger:MODE EDGE",
                f":TRIGger:EDGE:SOURce CHANnel{first.number}",
                f":TRIGger:EDGE:LEVel {first.offset_v + 0.49 * first.range_v:.6G}",
                ":TRIGger:SWEep NORMal",
                ":WAVeform:POINts MAXimum",
                ":WAVeform:POINts:MODE RAW",
                f":WAVeform:FORMat {FORMATS[_width(record)][1]}",
                ":WAVeform:BYTeorder LSBFirst",
                ":WAVeform:UNSigned 1",
            ]
        )
        made_s, rate_hz = self._number(":TIMebase:RANGe?"), self._number(":ACQuire:SRATe?")
        self._check_errors()
        if not (made_s > 0.0 and rate_hz > 0.0):
            raise ReplyInvalid(
                f"{self._where} says that it takes {rate_hz:g} S/s for {made_s:g} s; see its screen."
            )
        self._record = Record(max(1, round(made_s * rate_hz)), 1.0 / rate_hz, record.mode, record.pretrigger)
        return self._record

    def arm(self) -> None:
        """Start a single acquisition; :AER? tells that it waits for its trigger."""
        for register in (":AER?", ":TER?"):  # reading clears them
            self._flags(register)
        self._write([":SINGle"])
        self._wait_for(":AER?", "does not wait for its trigger")

    def trigger(self) -> Start:
        """Force a trigger; :TER? tells that it came."""
        earliest_ns = self._timebase.now_ns()
        self._write([":TRIGger:FORCe"])
        self._wait_for(":TER?", "takes no trigger")
        return Start(earliest_ns, self._timebase.now_ns())

    def is_done(self) -> bool:
        """A single acquisition stops by itself."""
        return not self._flags(":OPERegister:CONDition?") & RUNNING

    def stop(self) -> None:
        """Stop the acquisition; an unfinished record is not used."""
        self._write([":STOP"])

    def read(self, channel: int) -> Waveform:
        """Read all points of one channel."""
        record = self._record
        if record is None or not self.is_done():
            raise ReplyInvalid(f"{self._where} has no finished record; let it end before it is read.")
        link, width = self._connected, _width(record)
        link.write(f":WAVeform:SOURce CHANnel{channel}")
        preamble = Preamble.parse(link.query(":WAVeform:PREamble?"), self._where)
        self._check(preamble, record)
        decoder = Decoder(preamble.points, _scaling(preamble, width), self._where)
        with link.patience(TRANSFER_S + preamble.points * width / SLOWEST_BYTES_A_S):
            decoder.add(link.query_block(":WAVeform:DATA?"), preamble.points)
        decoder.check_complete()
        self._check_errors()
        return Waveform(preamble.start_s, preamble.x_increment_s, decoder.values, decoder.clipped)

    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the limits of a DC voltage."""
        return specified(channel)

    def make_safe(self) -> None:
        """Stop it."""
        self._write_anyway([":STOP"])

    @property
    def _where(self) -> str:
        return f"The oscilloscope at '{self._resource}'"

    def _check_identity(self, identity: Identity) -> None:
        found = NAME.match(identity.model or "")
        if found is None:
            raise wrong_instrument(identity, self.models, self.driver, self._resource)
        points, rate_hz = SERIES[found[1]]
        self._model = ScopeModel(
            identity.model or "",
            int(found[2]),
            (100, points),
            rate_hz,
            CODES,
            any_length=True,
            longest_s=LONGEST_S,
        )

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        link.write("*CLS")
        self._check_errors()

    def _set_channel(self, channel: ChannelSetting) -> None:
        if channel.bandwidth_hz is not None and not (
            BANDWIDTHS_HZ[0] <= channel.bandwidth_hz <= BANDWIDTHS_HZ[1]
        ):
            raise InstrumentError(
                f"{self._where} limits bandwidth to 20 or 25 MHz only, not to {channel.bandwidth_hz:g} Hz; correct bandwidth_hz."
            )
        name = f":CHANnel{channel.number}"
        self._write(
            [
                f"{name}:IMPedance ONEMeg",
                f"{name}:COUPling {channel.coupling}",
                f"{name}:UNITs VOLT",
                f"{name}:PROBe {channel.attenuation:.6G}",
                f"{name}:PROBe:SKEW {channel.deskew_s:.6G}",
                f"{name}:BWLimit {int(channel.bandwidth_hz is not None)}",
                f"{name}:RANGe {channel.range_v:.6G}",
                f"{name}:OFFSet {channel.offset_v:.6G}",
            ]
        )
        made_v = self._number(f"{name}:RANGe?")
        if abs(made_v / channel.range_v - 1.0) > 0.01:
            raise InstrumentError(
                f"{self._where} made a range of {made_v:g} V of the {channel.range_v:g} V of channel {channel.number}; "
                "set range_v to one that it has."
            )

    def _wait_for(self, register: str, failure: str) -> None:
        until_ns = self._timebase.now_ns() + round(WAIT_S * 1e9)
        while not self._flags(register):
            if self._timebase.now_ns() > until_ns:
                self._check_errors()
                raise InstrumentError(f"{self._where} {failure}; see its screen.")
            self._timebase.sleep(POLL_S)

    def _check(self, preamble: Preamble, record: Record) -> None:
        """Raise ReplyInvalid if the waveform is not the one that was set up, or not fit for energy."""
        if preamble.kind == PEAK:
            raise ReplyInvalid(
                f"{self._where} sends least and greatest values (peak detect), of which no energy follows; change its "
                "acquisition type."
            )
        wrong = None
        if preamble.kind not in TYPES[record.mode][1] or preamble.format != FORMATS[_width(record)][0]:
            wrong = f"format {preamble.format} and type {preamble.kind}, which were not set"
        span_s = preamble.points * preamble.x_increment_s
        if abs(span_s / record.duration_s - 1.0) > 0.02:
            wrong = f"{span_s:.4g} s of a record of {record.duration_s:.4g} s"
        if abs(preamble.start_s + record.pretrigger * record.duration_s) > 0.02 * record.duration_s:
            wrong = f"a record that begins {preamble.start_s:.4g} s from its trigger"
        if wrong is not None:
            raise ReplyInvalid(f"{self._where} sends {wrong}; check that nobody changed its settings.")


def _scaling(preamble: Preamble, width: int) -> Scaling:
    """Return how codes become V: y = (code − yref) · yinc + yorg.

    0 is a point that was not acquired; 1 and all ones are off the screen (:WAVeform:DATA?).
    """
    zero = preamble.y_origin - preamble.y_reference * preamble.y_increment_v
    # In WORD format the converter's code is the upper byte, unless it was averaged.
    low, high = (1, 0xFF) if width == 1 else (0x01FF, 0xFF00)
    return Scaling(FORMATS[width][2], preamble.y_increment_v, zero, low, high, hole=0)


def specified(channel: ChannelSetting) -> Specified:
    """Return the limits of a DC voltage.

    An error of the gain of 2 % of full scale, met at the edge of the screen, half of it from the offset, is 4 % of that distance.
    """
    division_v = channel.range_v / DIVISIONS_HIGH
    offset_v = DIVISIONS_OFF * division_v + OFF_V + OFFSET_OF_OFFSET * abs(channel.offset_v)
    return Specified(2.0 * GAIN_OF_FULL_SCALE, offset_v)


def _width(record: Record) -> int:
    return 2 if record.mode == "hires" else 1
