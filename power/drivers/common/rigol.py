"""What Rigol's DS1000Z and MSO5000 have in common: their commands, the preamble of ten fields, reading the memory in batches.

Sources: RIGOL PGA19109-1110, "MSO1000Z/DS1000Z Programming Guide", and PGA25104-1110, "MSO5000 Programming Guide", chapters
:ACQuire, :CHANnel, :TIMebase, :TRIGger, :WAVeform.

    y = (code − yorigin − yreference) · yincrement        t = xorigin + xincrement · (i − xreference)

Not verified on an instrument: how long it takes to arm at slow time bases, and that xorigin of RAW data is the time of the first
point of the memory. It is checked against the position that was set, so that a wrong one is refused.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from power.drivers.common.base import wrong_instrument
from power.drivers.common.codes import Decoder, Scaling
from power.drivers.common.preamble import Preamble
from power.drivers.common.scope import ChannelSetting, Record, ScopeModel, Waveform
from power.drivers.common.single_shot import (
    ROWS,
    SingleShotScope,
    Words,
    is_limited,
    scale_v,
    spans,
    steps_from,
)
from power.errors import ReplyInvalid
from power.meter import Identity
from power.specification import Specified
from power.transports.scpi import ScpiLink

CODES_PER_DIV = 25
LAST_CODE = 255
ABOVE = 4.5
"""Squares above the middle of the screen: where the trigger level is put."""
BYTE, RAW = 0, 2
"""Format and type in a preamble."""
TYPES = {"sample": "NORMal", "hires": "HRESolution"}
ATTENUATIONS = steps_from(0.01, 16)
"""Of the probes that can be set: 0.01 to 1000."""
FULL_SCALE_READ = 8.0 / 6.0
"""The gain's limit is a part of full scale, 8 squares, and is verified over 6 of them (the performance verification guides)."""


class RigolScope(SingleShotScope):
    """A Rigol oscilloscope. Values are bytes in high resolution too: the averages are rounded to the converter's step.

    batch_points  most points that one :WAVeform:DATA? answers
    """

    words = Words(frozenset({"WAIT"}), frozenset({"STOP"}))
    status_query = ":TRIGger:STATus?"
    force_command = ":TFORce"
    stop_command = ":STOP"
    error_query = ":SYSTem:ERRor?"
    attenuations = ATTENUATIONS
    batch_points: ClassVar[int]
    model_pattern: ClassVar[re.Pattern[str]]
    """Matches the models' names; its last group is the number of channels."""
    skew_command: ClassVar[str]

    def modelled(self, name: str, channels: int) -> ScopeModel:
        """Return what the model of that name does with the channels that are on."""
        record_lengths, most_rate_hz = self.memory(max(1, min(len(self._channels), 4)))
        return ScopeModel(
            name,
            channels,
            record_lengths,
            most_rate_hz,
            ROWS * CODES_PER_DIV,
            longest_s=self.divisions * self.longest_div_s,
            spans_s=spans(self.divisions, self.shortest_div_s, self.longest_div_s),
        )

    @abstractmethod
    def memory(self, on: int) -> tuple[tuple[int, ...], float]:
        """Return the depths of the memory, points, and the highest rate, Hz, with so many channels on."""

    @abstractmethod
    def _depth(self, points: int) -> str:
        """Return how a memory depth is written."""

    def _check_identity(self, identity: Identity) -> None:
        found = self.model_pattern.match(identity.model or "")
        if found is None:
            raise wrong_instrument(identity, self.models, self.driver, self._connected.address)
        self._model = self.modelled(identity.model or "", int(found[1]))

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        link.write("*CLS")
        self._check_errors()

    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        """Set everything, and read back what decides about the numbers."""
        self._check_possible(channels, record)
        self._write(["*CLS", ":RUN"])
        on = {channel.number: channel for channel in channels}
        for number in range(1, self.model.channels + 1):
            self._write(
                self._channel_commands(on[number]) if number in on else [f":CHANnel{number}:DISPlay OFF"]
            )
        div_s = self._div_s(record)
        length_s = self.divisions * div_s
        self._write(
            [
                ":TIMebase:MODE MAIN",
                f":TIMebase:MAIN:SCALe {div_s:g}",
                f":TIMebase:MAIN:OFFSet {(0.5 - record.pretrigger) * length_s:g}",
                f":ACQuire:TYPE {TYPES[record.mode]}",
                f":ACQuire:MDEPth {self._depth(record.points)}",
                *self._trigger_commands(channels[0]),
            ]
        )
        self._check_errors()
        self._check_answer(":TIMebase:MAIN:SCALe?", div_s)
        self._check_answer(":ACQuire:MDEPth?", record.points, 1e-6)
        for channel in channels:
            self._check_answer(f":CHANnel{channel.number}:SCALe?", scale_v(channel))
        rate_hz = self._value(":ACQuire:SRATe?")
        self._settings = on
        self._record = Record(record.points, 1.0 / rate_hz, record.mode, record.pretrigger)
        return self._record

    def _start_single(self) -> None:
        self._connected.write(":SINGle")

    def read(self, channel: int) -> Waveform:
        """Read the memory in batches, stopped."""
        self._setting(channel)
        record = self._check_finished()
        self._write(
            [
                f":WAVeform:SOURce CHANnel{channel}",
                ":WAVeform:MODE RAW",
                ":WAVeform:FORMat BYTE",
                ":WAVeform:STARt 1",
                f":WAVeform:STOP {record.points}",
            ]
        )
        preamble = Preamble.parse(self._connected.query(":WAVeform:PREamble?"), f"'{self._resource}'")
        self._check_preamble(preamble, record)
        decoder = Decoder(record.points, _scaling(preamble), f"The oscilloscope at '{self._resource}'")
        for first in range(0, record.points, self.batch_points):
            last = min(first + self.batch_points, record.points)
            self._write([f":WAVeform:STARt {first + 1}", f":WAVeform:STOP {last}"])
            decoder.add(self._block(":WAVeform:DATA?"), last - first)
        decoder.check_complete()
        return Waveform(preamble.start_s, preamble.x_increment_s, decoder.values, decoder.clipped)

    def _check_preamble(self, preamble: Preamble, record: Record) -> None:
        if preamble.kind != RAW or preamble.format != BYTE:
            raise ReplyInvalid(
                f"The oscilloscope at '{self._resource}' sends what its screen shows (type {preamble.kind}, format "
                f"{preamble.format}) instead of its memory, which is not fit for energy; stop it and measure again."
            )
        self._check_count(preamble.points, record.points, "points in its memory")
        if abs(preamble.x_increment_s - record.interval_s) > 1e-4 * record.interval_s:
            raise ReplyInvalid(
                f"The points of the oscilloscope at '{self._resource}' are {preamble.x_increment_s:g} s apart, not "
                f"{record.interval_s:g} s as it said before; check that nobody changed its time base."
            )
        self._check_start(preamble.start_s, record)

    def _channel_commands(self, channel: ChannelSetting) -> list[str]:
        self._check_attenuation(channel)
        head = f":CHANnel{channel.number}:"
        return [
            f"{head}DISPlay ON",
            f"{head}COUPling {channel.coupling}",
            f"{head}BWLimit {'20M' if is_limited(channel) else 'OFF'}",
            f"{head}INVert OFF",
            f"{head}UNITs VOLTage",
            f"{head}PROBe {channel.attenuation:g}",
            f"{head}SCALe {scale_v(channel):g}",
            f"{head}OFFSet {0.0 - channel.offset_v:g}",
            f"{head}{self.skew_command} {channel.deskew_s:g}",
        ]

    def _trigger_commands(self, channel: ChannelSetting) -> list[str]:
        level_v = channel.offset_v + ABOVE * scale_v(channel)
        return [
            ":TRIGger:MODE EDGE",
            f":TRIGger:EDGe:SOURce CHANnel{channel.number}",
            ":TRIGger:EDGe:SLOPe POSitive",
            f":TRIGger:EDGe:LEVel {level_v:g}",
        ]

    def _limits(self, channel: ChannelSetting, gain: float, gain_fine: float, of_offset: float) -> Specified:
        """Return limits: gain of full scale (another below 10 mV a square), ±(0.1 squares + 2 mV + of_offset · offset)."""
        div_v = scale_v(channel)
        fine = div_v / channel.attenuation < 0.01 * (1.0 - 1e-9)
        return Specified(
            FULL_SCALE_READ * (gain_fine if fine else gain),
            0.1 * div_v + 2e-3 * channel.attenuation + of_offset * abs(channel.offset_v),
        )


def _scaling(preamble: Preamble) -> Scaling:
    """Return how bytes become V."""
    zero_v = -(preamble.y_origin + preamble.y_reference) * preamble.y_increment_v
    return Scaling("u1", preamble.y_increment_v, zero_v, 0, LAST_CODE)
