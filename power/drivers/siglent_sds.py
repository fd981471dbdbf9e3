"""Siglent SDS oscilloscopes with the newer commands: SDS800X HD, SDS1000X HD, SDS2000X HD, SDS2000X Plus, SDS5000X.

Source: SIGLENT "SDS Series Programming Guide" EN11, chapters CHANnel, ACQuire, TIMebase, TRIGger and WAVeform. The time of
point i is delay − tdiv · 10/2 + i · interval.

Memory depth is taken only while it runs, and only if memory management is FMDepth. ERES filters what was thinned out before, so
it averages nothing that lies between two points: there is no high resolution with this driver.

Not verified on an instrument: whether all firmware answers :SYSTem:ERRor?, which the guide does not list. If nothing answers,
only the settings that are read back are checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from power.drivers.common.base import wrong_instrument
from power.drivers.common.codes import Decoder
from power.drivers.common.scope import ChannelSetting, Record, Waveform
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
from power.drivers.common.single_shot import ROWS, SingleShotScope, Words, is_limited, scale_v
from power.errors import InstrumentError, LinkLost, ReplyInvalid
from power.meter import Identity
from power.specification import Specified
from power.transports.scpi import ScpiLink

WIDTHS = ("BYTE", "WORD")
ABOVE = 4.0
"""Squares above the middle of the screen: where the trigger level is put."""
FARTHEST = 10.0
"""No code lies so many squares from the middle: if one does, codes and code_per_div count in different steps."""
ASK_S = 1.0
"""Patience with a query that some firmware does not know."""


class SiglentSds(SingleShotScope):
    """A newer Siglent oscilloscope."""

    driver = "siglent-sds"
    models = tuple(family.name for family in FAMILIES)
    divisions = COLUMNS
    shortest_div_s, longest_div_s = SHORTEST_DIV_S, LONGEST_DIV_S
    words = Words(frozenset({"READY"}), frozenset({"STOP"}))
    status_query = ":TRIGger:STATus?"
    force_command = ":TRIGger:MODE FTRIG"
    stop_command = ":TRIGger:STOP"
    error_query = ":SYSTem:ERRor?"
    clock_ppm = 25.0
    _family: Family | None = None
    _tells_errors = True

    @property
    def family(self) -> Family:
        """Which family answered."""
        if self._family is None:
            raise InstrumentError(f"The oscilloscope at '{self._resource}' is not connected.")
        return self._family

    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the data sheet's limits."""
        return limits(channel, is_hd=self.family.bits > 8)

    def make_safe(self) -> None:
        """Stop it, and unlock its front panel."""
        self._write_anyway([self.stop_command, ":SYSTem:REMote OFF"])

    def _check_identity(self, identity: Identity) -> None:
        for family in FAMILIES:
            found = family.pattern.match(identity.model or "")
            if found is not None:
                self._family = family
                self._model = modelled(family, identity.model or "", int(found[1]), len(self._channels))
                return
        raise wrong_instrument(identity, self.models, self.driver, self._connected.address)

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        link.write("*CLS")
        try:
            with link.patience(ASK_S):
                self._check_errors()
        except LinkLost:
            self._tells_errors = False

    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        """Set everything, and read back what decides about the numbers."""
        self._check_possible(channels, record)
        self._write([":TRIGger:MODE AUTO", ":TRIGger:RUN"])
        on = {channel.number: channel for channel in channels}
        for number in range(1, self.model.channels + 1):
            self._write(
                self._channel_commands(on[number]) if number in on else [f":CHANnel{number}:SWITch OFF"]
            )
        div_s = self._div_s(record)
        length_s = COLUMNS * div_s
        self._write(
            [
                ":ACQuire:TYPE NORMal",
                ":ACQuire:SEQuence OFF",
                ":ACQuire:MMANagement FMDepth",
                f":TIMebase:SCALe {div_s:g}",
                f":TIMebase:DELay {(0.5 - record.pretrigger) * length_s:g}",
                f":ACQuire:MDEPth {depth_text(record.points)}",
                *self._trigger_commands(channels[0]),
            ]
        )
        if self._tells_errors:
            self._check_errors()
        self._check_answer(":TIMebase:SCALe?", div_s)
        self._check_answer(":ACQuire:MDEPth?", record.points, 1e-6)
        for channel in channels:
            self._check_answer(f":CHANnel{channel.number}:SCALe?", scale_v(channel))
            self._check_answer(f":CHANnel{channel.number}:PROBe?", channel.attenuation)
        # Rates come with three digits; what they have to be follows exactly from depth and time base.
        self._check_answer(":ACQuire:SRATe?", record.points / length_s, 0.01)
        self._settings = on
        self._record = Record(record.points, length_s / record.points, record.mode, record.pretrigger)
        return self._record

    def _start_single(self) -> None:
        self._write([":TRIGger:MODE SINGle", ":TRIGger:RUN"])

    def read(self, channel: int) -> Waveform:
        """Read the memory in batches of :WAVeform:MAXPoint?, stopped."""
        self._setting(channel)
        record = self._check_finished()
        self._write(
            [
                f":WAVeform:SOURce C{channel}",
                f":WAVeform:WIDTh {WIDTHS[self.family.bits > 8]}",
                ":WAVeform:BYTeorder LSB",
                ":WAVeform:INTerval 1",
                ":WAVeform:STARt 0",
                f":WAVeform:POINt {record.points}",
            ]
        )
        found = Wavedesc.parse(self._block(":WAVeform:PREamble?"), self._resource)
        self._check_preamble(found, record)
        batch = int(self._value(":WAVeform:MAXPoint?"))
        if batch < 1:
            raise ReplyInvalid(
                f"'{self._resource}' reads {batch} points at a time, which is none; see its screen."
            )
        where = f"The oscilloscope at '{self._resource}'"
        scaling = found.scaling(self.family.bits)
        decoder = Decoder(record.points, scaling, where)
        for first in range(0, record.points, batch):
            count = min(batch, record.points - first)
            self._write([f":WAVeform:STARt {first}", f":WAVeform:POINt {count}"])
            decoder.add(self._block(":WAVeform:DATA?"), count)
        decoder.check_complete()
        self._check_place(decoder, found)
        return Waveform(self._start_s(found, record), record.interval_s, decoder.values, decoder.clipped)

    def _check_place(self, decoder: Decoder, found: Wavedesc) -> None:
        """Raise ReplyInvalid for values that no converter reaches: its codes are counted otherwise than the preamble says."""
        middle_v = -found.offset_v * found.probe
        farthest_v = max(
            abs(float(decoder.values.max()) - middle_v), abs(float(decoder.values.min()) - middle_v)
        )
        if farthest_v > FARTHEST * found.div_v * found.probe:
            raise ReplyInvalid(
                f"The oscilloscope at '{self._resource}' sent points {farthest_v:.3g} V from the middle of a screen of "
                f"{ROWS * found.div_v * found.probe:g} V: its codes and preamble do not belong together; update its firmware."
            )

    def _check_preamble(self, found: Wavedesc, record: Record) -> None:
        if found.width != (self.family.bits > 8):
            raise ReplyInvalid(
                f"The oscilloscope at '{self._resource}' sends {WIDTHS[found.width]}s, which were not asked for; measure again."
            )
        if found.step != 1 or found.first != 0:
            raise ReplyInvalid(
                f"The oscilloscope at '{self._resource}' sends one of {found.step} points, from number {found.first} on, "
                "instead of all of its memory, which is not fit for energy; measure again."
            )
        self._check_count(found.points, record.points, "points in its memory")
        if abs(found.interval_s - record.interval_s) > 1e-4 * record.interval_s:
            raise ReplyInvalid(
                f"The points of the oscilloscope at '{self._resource}' are {found.interval_s:g} s apart, not "
                f"{record.interval_s:g} s as they were set; check that nobody changed its time base."
            )

    def _start_s(self, found: Wavedesc, record: Record) -> float:
        start_s = found.delay_s - 0.5 * record.duration_s
        self._check_start(start_s, record)
        return start_s

    def _channel_commands(self, channel: ChannelSetting) -> list[str]:
        head = f":CHANnel{channel.number}:"
        return [
            f"{head}SWITch ON",
            f"{head}COUPling {channel.coupling}",
            *([f"{head}IMPedance ONEMeg"] if self.family.has_50_ohm else []),
            f"{head}BWLimit {'20M' if is_limited(channel) else 'FULL'}",
            f"{head}INVert OFF",
            f"{head}UNIT V",
            f"{head}PROBe VALue,{channel.attenuation:g}",
            f"{head}SCALe {scale_v(channel):g}",
            f"{head}OFFSet {0.0 - channel.offset_v:g}",
            f"{head}SKEW {channel.deskew_s:g}",
        ]

    def _trigger_commands(self, channel: ChannelSetting) -> list[str]:
        return [
            ":TRIGger:TYPE EDGE",
            f":TRIGger:EDGE:SOURce C{channel.number}",
            ":TRIGger:EDGE:SLOPe RISing",
            f":TRIGger:EDGE:LEVel {channel.offset_v + ABOVE * scale_v(channel):g}",
        ]


def depth_text(points: int) -> str:
    """Return how a memory depth is written: 10k, 1.25M."""
    return f"{points / 1e6:g}M" if points >= 1_000_000 else f"{points / 1e3:g}k"
