"""Tektronix MDO4000 oscilloscopes (MDO4000, MDO4000B, MDO4000C), such as the MDO4054B.

Source: Tektronix 077-0510, "MDO4000C, MDO4000B, MDO4000, MSO4000B, DPO4000B and MDO3000 Series Oscilloscopes Programmer Manual",
with its appendix D on waveform transfers. Accuracy: appendix A of the series' user manual (MSO/DPO4000 and MDO4000: DC gain
±1.5 %, offset accuracy ±(0.5 % of the offset + DC balance), averages + 0.1 div, time base ±5 ppm); the DC balance of 0.2 div at
5 mV/div and above is that of the MSO/DPO4000 Series. Check them against the data sheet of yours, or state `accuracy` in
farm.toml.

A probe that tells its unit (TekVPI clamps) makes volts amperes: give clamp_v_per_a = 1 then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Self

from power.drivers.common.base import Start
from power.drivers.common.codes import Decoder, Scaling
from power.drivers.common.scope import ChannelSetting, Oscilloscope, Record, ScopeModel, Waveform
from power.drivers.common.scpi_instrument import ScpiInstrument
from power.errors import InstrumentError, NoReading, ReplyInvalid
from power.meter import Identity
from power.options import Options
from power.specification import Specified
from power.timebase import Timebase
from power.transports.scpi import ScpiLink

MODELS = ("MDO4",)
RECORD_LENGTHS = (1_000, 10_000, 100_000, 1_000_000, 5_000_000, 10_000_000, 20_000_000)
DIVISIONS_WIDE = DIVISIONS_HIGH = 10
LEVELS_A_DIVISION = {1: 25, 2: 6400}
"""Codes by bytes a point: points of high resolution have 16 bits."""
SCALES_S = tuple(float(f"{step}e{decade}") for decade in range(-10, 4) for step in (1, 2, 4))[2:-2]
"""Time bases, s/div: 400 ps to 1000 s in steps 1, 2, 4."""
MODEL = ScopeModel(
    "MDO4000",
    4,
    RECORD_LENGTHS,
    2.5e9,
    DIVISIONS_HIGH * LEVELS_A_DIVISION[1],
    longest_s=DIVISIONS_WIDE * SCALES_S[-1],
    spans_s=tuple(DIVISIONS_WIDE * scale_s for scale_s in SCALES_S),
)
PREAMBLE = (
    *("BYT_NR", "BIT_NR", "ENCDG", "BN_FMT", "BYT_OR", "WFID", "NR_PT", "PT_FMT", "PT_ORDER"),
    *("XUNIT", "XINCR", "XZERO", "PT_OFF", "YUNIT", "YMULT", "YOFF", "YZERO"),
)
"""Fields of WFMOutpre?, in the order in which they come without names."""
ERROR_BITS = 0b0011_1100
"""Of *ESR?: query, device, execution and command errors."""
POINTS_A_READ = 1 << 21
ARMING_S = 10.0
POLL_S = 0.001
TRANSFER_S = 5.0
"""Patience for a transfer, and for each byte of it at the slowest rate that there is:"""
SLOWEST_BYTES_A_S = 2e5
GAIN = 0.015
OFFSET_OF_OFFSET = 0.005
DIVISIONS_OFF = 0.2 + 0.1


class Mdo4000(ScpiInstrument, Oscilloscope):
    """One oscilloscope; `resource` is its VISA address."""

    driver = "tektronix-mdo4000"
    models = MODELS
    clock_ppm = 5.0

    def __init__(self, resource: str, timebase: Timebase, *, link: ScpiLink | None = None) -> None:
        """`link` is for tests; else `resource` is opened by `connect`."""
        super().__init__(resource, timebase, link)
        self._found_header: str | None = None
        self._record: Record | None = None

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource; the rest is the meter's."""
        return cls(options.text("resource"), timebase)

    @property
    def model(self) -> ScopeModel:
        """All of the family are alike in what matters here."""
        return MODEL

    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        """Set channels, time base, acquisition, a trigger that only a command sets off, and the transfer."""
        link = self._connected
        link.write("ACQuire:STATE STOP")
        used = {channel.number for channel in channels}
        for number in range(1, MODEL.channels + 1):
            link.write(f"SELect:CH{number} {'ON' if number in used else 'OFF'}")
        for channel in channels:
            self._set_channel(channel)
        self._write(
            [
                "HORizontal:DELay:MODe OFF",
                f"HORizontal:POSition {100.0 * record.pretrigger:g}",
                f"HORizontal:RECOrdlength {record.points}",
                f"HORizontal:SCAle {scale_of(record.duration_s):g}",
                f"ACQuire:MODe {'HIRes' if record.mode == 'hires' else 'SAMple'}",
                "ACQuire:STOPAfter SEQuence",
            ]
        )
        first = channels[0]
        self._write(
            [
                "TRIGger:A:TYPe EDGe",
                f"TRIGger:A:EDGE:SOUrce CH{first.number}",
                "TRIGger:A:MODe NORMal",
                f"TRIGger:A:LEVel:CH{first.number} {first.offset_v + 0.49 * first.range_v:g}",
            ]
        )
        return self._read_back(record)

    def arm(self) -> None:
        """Start, and wait until it would take a trigger."""
        link = self._connected
        link.write("ACQuire:STATE RUN")
        until_ns = self._timebase.now_ns() + round(ARMING_S * 1e9)
        while (state := self._ask("TRIGger:STATE?").upper()) != "READY":
            if state not in ("ARMED", "AUTO"):
                self._check_errors()
            if self._timebase.now_ns() > until_ns or state.startswith(("TRIG", "SAV")):
                raise InstrumentError(
                    f"The oscilloscope at '{self._resource}' does not wait for its trigger but says {state}; "
                    "stop whatever else controls it."
                )
            self._timebase.sleep(POLL_S)

    def trigger(self) -> Start:
        """Force a trigger; it came before the state is another."""
        earliest_ns = self._timebase.now_ns()
        self._connected.write("TRIGger FORCe")
        until_ns = earliest_ns + round(ARMING_S * 1e9)
        while self._ask("TRIGger:STATE?").upper() == "READY":
            if self._timebase.now_ns() > until_ns:
                raise InstrumentError(
                    f"The oscilloscope at '{self._resource}' takes no trigger; see its screen."
                )
            self._timebase.sleep(POLL_S)
        return Start(earliest_ns, self._timebase.now_ns())

    def is_done(self) -> bool:
        """A sequence stops by itself."""
        return self._ask("ACQuire:STATE?") in ("0", "OFF", "STOP")

    def stop(self) -> None:
        """Stop the acquisition; an unfinished record is lost."""
        self._connected.write("ACQuire:STATE STOP")

    def read(self, channel: int) -> Waveform:
        """Read one channel in pieces, so that no answer is larger than some megabytes."""
        record = self._record
        if record is None or self._ask("ACQuire:NUMACq?") == "0":
            raise NoReading(
                f"The oscilloscope at '{self._resource}' has no finished record; let it end before it is read."
            )
        link = self._connected
        link.write(f"DATa:SOUrce CH{channel}")
        # Neither follows the length of the record.
        link.write("DATa:STARt 1")
        link.write(f"DATa:STOP {record.points}")
        width = 2 if record.mode == "hires" else 1
        fields = parse_preamble(link.query("WFMOutpre?"), self._where)
        scaling = _checked(fields, record.points, width, self._where)
        axis = _time_axis(fields, record, self._where)
        decoder = Decoder(record.points, scaling, self._where)
        for first in range(0, record.points, POINTS_A_READ):
            self._read_piece(decoder, first, min(record.points, first + POINTS_A_READ), width)
        decoder.check_complete()
        self._check_errors()
        return Waveform(*axis, decoder.values, decoder.clipped)

    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the limits of a DC voltage, averaged."""
        return specified(channel)

    def make_safe(self) -> None:
        """Stop, and give back headers and free running."""
        if self._link is not None and self._found_header is not None:
            header = "0" if self._found_header in ("0", "OFF") else "1"
            self._write_anyway(["ACQuire:STATE STOP", "ACQuire:STOPAfter RUNSTop", f"HEADer {header}"])

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        link.write("*CLS")
        self._found_header = self._ask("HEADer?")
        link.write("HEADer 1")  # answers are known by name then
        self._check_errors()

    @property
    def _where(self) -> str:
        return f"The oscilloscope at '{self._resource}'"

    def _ask(self, command: str) -> str:
        """Return an answer without its header, whether it has one or not."""
        answer = self._connected.query(command)
        return answer.partition(" ")[2].strip() if answer.startswith(":") else answer

    def _set_channel(self, channel: ChannelSetting) -> None:
        link, name = self._connected, f"CH{channel.number}"
        gain = 1.0 / channel.attenuation
        # Probes that tell their own attenuation refuse to be told another one.
        if abs(_float(self._ask(f"{name}:PRObe:GAIN?"), self._where) / gain - 1.0) > 1e-3:
            link.write(f"{name}:PRObe:GAIN {gain:g}")
        bandwidth = "FULl" if channel.bandwidth_hz is None else f"{channel.bandwidth_hz:g}"
        self._write(
            [
                f"{name}:TERmination MEG",
                f"{name}:COUPling {channel.coupling}",
                f"{name}:BANdwidth {bandwidth}",
                f"{name}:SCAle {channel.range_v / DIVISIONS_HIGH:g}",
                f"{name}:POSition 0",
                f"{name}:OFFSet {channel.offset_v:g}",
                f"{name}:DESKew {channel.deskew_s:g}",
            ]
        )
        made_v = _float(self._ask(f"{name}:SCAle?"), self._where) * DIVISIONS_HIGH
        if abs(made_v / channel.range_v - 1.0) > 0.01:
            raise InstrumentError(
                f"{self._where} made a range of {made_v:g} V of the {channel.range_v:g} V of channel {channel.number}; "
                "set range_v to one that it has."
            )

    def _read_back(self, record: Record) -> Record:
        link = self._connected
        width = 2 if record.mode == "hires" else 1
        link.write("DATa:ENCdg SRIbinary")
        link.write(f"DATa:WIDth {width}")
        points = round(_float(self._ask("HORizontal:RECOrdlength?"), self._where))
        rate_hz = _float(self._ask("HORizontal:SAMPLERate?"), self._where)
        self._check_errors()
        if points < 1 or not rate_hz > 0.0:
            raise ReplyInvalid(
                f"{self._where} says that it takes {points} points at {rate_hz:g} S/s; see its screen."
            )
        self._record = Record(points, 1.0 / rate_hz, record.mode, record.pretrigger)
        return self._record

    def _read_piece(self, decoder: Decoder, first: int, end: int, width: int) -> None:
        link = self._connected
        if self._record is not None and end - first < self._record.points:
            link.write(f"DATa:STARt {first + 1}")
            link.write(f"DATa:STOP {end}")
        with link.patience(TRANSFER_S + (end - first) * width / SLOWEST_BYTES_A_S):
            decoder.add(link.query_block("CURVe?"), end - first)

    def _check_errors(self) -> None:
        link = self._connected
        answer = link.query("*ESR?")
        if not answer.isdigit():
            raise ReplyInvalid(f"{self._where} answered '*ESR?' with '{answer[:60]}'; measure again.")
        # Events can only be read after *ESR? was.
        events = self._ask("ALLEv?")
        if int(answer) & ERROR_BITS:
            raise InstrumentError(f"{self._where} reports {events}; see its manual.")


def specified(channel: ChannelSetting) -> Specified:
    """Return the limits of an averaged DC voltage: of what is above the offset, and of the rest."""
    division_v = channel.range_v / DIVISIONS_HIGH
    return Specified(GAIN, OFFSET_OF_OFFSET * abs(channel.offset_v) + DIVISIONS_OFF * division_v)


def scale_of(duration_s: float) -> float:
    """Return the time base, s/div, of the shortest record that covers `duration_s`."""
    needed_s = duration_s / DIVISIONS_WIDE * (1.0 - 1e-9)
    return next((scale_s for scale_s in SCALES_S if scale_s >= needed_s), SCALES_S[-1])


def parse_preamble(answer: str, where: str) -> Mapping[str, str]:
    """Read the answer to WFMOutpre?, with names or without: fields by name, quotes taken off.

    Raises ReplyInvalid if there are too few of them.
    """
    found: dict[str, str] = {}
    for place, field in enumerate(re.findall(r'(?:[^;"]|"[^"]*")+', answer)):
        text = field.strip()
        named = re.fullmatch(r"(?::?WFMOUTPRE:)?([A-Za-z_]+) (.+)", text, re.DOTALL | re.IGNORECASE)
        if named is not None:
            found[named[1].upper()] = named[2].strip().strip('"')
        elif place < len(PREAMBLE):
            found[PREAMBLE[place]] = text.strip('"')
    missing = [name for name in PREAMBLE if name not in found]
    if missing:
        raise ReplyInvalid(f"{where} sent a preamble without {missing[0]}: '{answer[:80]}'; measure again.")
    return found


def _checked(fields: Mapping[str, str], points: int, width: int, where: str) -> Scaling:
    """Return how codes are scaled. Raises ReplyInvalid if the waveform is not what was set up, or not fit for energy."""
    if fields["PT_FMT"].upper() != "Y":
        raise ReplyInvalid(
            f"{where} sends pairs of least and greatest values (PT_FMT {fields['PT_FMT']}), of which no energy follows; "
            "take it out of peak detect and envelope mode."
        )
    due = {"BYT_NR": str(width), "BN_FMT": "RI", "BYT_OR": "LSB", "NR_PT": str(points)}
    for name, value in due.items():
        if fields[name].upper() != value:
            raise ReplyInvalid(f"{where} sends {name} {fields[name]} where {value} was set; measure again.")
    gain, off = _number(fields, "YMULT", where), _number(fields, "YOFF", where)
    edge = LEVELS_A_DIVISION[width] * DIVISIONS_HIGH // 2
    # The converter goes a little beyond the screen; what is off it counts as clipped already.
    return Scaling(
        "<i2" if width == 2 else "i1", gain, _number(fields, "YZERO", where) - gain * off, -edge, edge
    )


def _time_axis(fields: Mapping[str, str], record: Record, where: str) -> tuple[float, float]:
    """Return time of the first point from the trigger, and interval. Raises ReplyInvalid if they are not as they were set."""
    interval_s = _number(fields, "XINCR", where)
    start_s = _number(fields, "XZERO", where) - interval_s * _number(fields, "PT_OFF", where)
    if abs(interval_s / record.interval_s - 1.0) > 1e-3:
        raise ReplyInvalid(
            f"{where} took points {interval_s:.4g} s apart where {record.interval_s:.4g} s were set; measure again and leave its "
            "time base alone."
        )
    if abs(start_s + record.pretrigger * record.duration_s) > 0.02 * record.duration_s:
        raise ReplyInvalid(
            f"{where} began its record {start_s:.4g} s from its trigger; measure again and leave its horizontal position alone."
        )
    return start_s, interval_s


def _number(fields: Mapping[str, str], name: str, where: str) -> float:
    return _float(fields[name], f"{where} ({name})")


def _float(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ReplyInvalid(f"{where} answered '{text[:60]}' where a number was due; measure again.") from None
