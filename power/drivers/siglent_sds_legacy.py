"""Siglent SDS1000X, X+, X-E, X-C, X-U: oscilloscopes with the older commands.

Source: SIGLENT "Digital Oscilloscopes Series Programming Guide" PG01-E02: CHDR, VDIV, OFST, TDIV, TRDL, MSIZ, SARA, SANU, SAST,
WFSU, WF. Codes are signed bytes in two's complement: y = code · vdiv ÷ 25 − offset (the guide's "minus 255" is off by one). The
first point is at delay − tdiv · 14/2. A block has text in front of it and ends with two newlines.

Channels 1 and 2 share one memory and converter, 3 and 4 another. SARA and SANU tell of the last acquisition, so how many points
there are is known for certain only when it is over; the record is checked against the time base then. There is no error queue:
settings are read back.

Not verified on an instrument: FRTR, the forced trigger, which the guide does not list. If it is not taken, that is told. The
averaging that ACQW HIGH_RES does is not described well enough to be relied on: there is no high resolution with this driver.

Limits of error from the data sheet of the SDS1000X-E: gain ±3 % (±4 % below 5 mV a square), offset ±(1 % of the offset + 1.5 % of
8 squares + 2 mV), time base ±25 ppm. Check that of yours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from power.drivers.common.base import wrong_instrument
from power.drivers.common.codes import Decoder, Scaling
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

PATTERN = re.compile(r"SDS1[0-2]\d([24])X(?! ?HD)", re.IGNORECASE)
COLUMNS, CODES_PER_DIV = 14, 25
SHORTEST_DIV_S, LONGEST_DIV_S = 1e-9, 100.0
DEPTHS = {"14K": 14_000, "140K": 140_000, "1.4M": 1_400_000, "14M": 14_000_000}
"""With one channel of each pair on."""
HALF_DEPTHS = {"7K": 7_000, "70K": 70_000, "700K": 700_000, "7M": 7_000_000}
"""With both channels of a pair on."""
PAIRS = ({1, 2}, {3, 4})
MOST_RATE_HZ = 1e9
BATCH_POINTS = 7_000_000
ABOVE = 4.0
"""Squares above the middle of the screen: where the trigger level is put."""
ATTENUATIONS = steps_from(0.1, 16)


class SiglentSdsLegacy(SingleShotScope):
    """An older Siglent oscilloscope."""

    driver = "siglent-sds-legacy"
    models = ("SDS1000X", "SDS1000X-E")
    divisions = COLUMNS
    shortest_div_s, longest_div_s = SHORTEST_DIV_S, LONGEST_DIV_S
    words = Words(frozenset({"READY"}), frozenset({"STOP"}))
    status_query = "SAST?"
    force_command = "FRTR"
    stop_command = "STOP"
    clock_ppm = 25.0
    attenuations = ATTENUATIONS

    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the data sheet's limits."""
        return limits(channel)

    def _check_identity(self, identity: Identity) -> None:
        found = PATTERN.match(identity.model or "")
        if found is None:
            raise wrong_instrument(identity, self.models, self.driver, self._connected.address)
        self._model = modelled(identity.model or "", int(found[1]), self._channels)

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        link.write("CHDR OFF")

    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        """Set everything, and read back what decides about the numbers."""
        self._check_possible(channels, record)
        self._write(["TRMD AUTO"])
        on = {channel.number: channel for channel in channels}
        for number in range(1, self.model.channels + 1):
            self._write(self._channel_commands(on[number]) if number in on else [f"C{number}:TRA OFF"])
        div_s = self._div_s(record)
        length_s = COLUMNS * div_s
        first = channels[0]
        self._write(
            [
                "ACQW SAMPLING",
                f"TDIV {div_s:g}S",
                f"TRDL {(0.5 - record.pretrigger) * length_s:g}S",
                f"MSIZ {self._size(record.points)}",
                f"TRSE EDGE,SR,C{first.number},HT,OFF",
                f"C{first.number}:TRSL POS",
                f"C{first.number}:TRLV {first.offset_v + ABOVE * scale_v(first):g}V",
            ]
        )
        self._check_answer("TDIV?", div_s)
        self._check_answer("MSIZ?", record.points, 1e-6)
        for channel in channels:
            self._check_answer(f"C{channel.number}:ATTN?", channel.attenuation)
            self._check_answer(f"C{channel.number}:VDIV?", scale_v(channel))
        self._settings = on
        self._record = Record(record.points, length_s / record.points, record.mode, record.pretrigger)
        return self._record

    def _start_single(self) -> None:
        self._write(["TRMD SINGLE", "ARM"])

    def read(self, channel: int) -> Waveform:
        """Read the memory in batches, stopped."""
        self._setting(channel)
        record = self._check_finished()
        points = round(self._value(f"SANU? C{channel}"))
        interval_s = self._interval_s(points, record)
        start_s = self._value("TRDL?") - 0.5 * record.duration_s
        self._check_start(start_s, record)
        div_v, offset_v = self._value(f"C{channel}:VDIV?"), self._value(f"C{channel}:OFST?")
        scaling = Scaling("i1", div_v / CODES_PER_DIV, -offset_v, -128, 127)
        decoder = Decoder(points, scaling, f"The oscilloscope at '{self._resource}'")
        for first in range(0, points, BATCH_POINTS):
            count = min(BATCH_POINTS, points - first)
            self._write([f"WFSU SP,1,NP,{count},FP,{first}"])
            decoder.add(self._block(f"C{channel}:WF? DAT2"), count)
        decoder.check_complete()
        return Waveform(start_s, interval_s, decoder.values, decoder.clipped)

    def _interval_s(self, points: int, record: Record) -> float:
        """Return the time between the points that there really are. Raises ReplyInvalid if they do not fill the screen."""
        rate_hz = self._value("SARA?")
        if (
            points < 2
            or not rate_hz > 0.0
            or abs(points / rate_hz - record.duration_s) > 0.01 * record.duration_s
        ):
            raise ReplyInvalid(
                f"The memory of the oscilloscope at '{self._resource}' holds {points} points at {rate_hz:g} S/s, which is not "
                f"the record of {record.duration_s:g} s that was set; check that nobody changed its time base."
            )
        # The rate comes with three digits; screen and number of points are exact.
        return record.duration_s / points

    def _size(self, points: int) -> str:
        return next(name for name, depth in (DEPTHS | HALF_DEPTHS).items() if depth == points)

    def _channel_commands(self, channel: ChannelSetting) -> list[str]:
        self._check_attenuation(channel)
        head = f"C{channel.number}:"
        return [
            f"{head}TRA ON",
            f"{head}CPL {channel.coupling[0]}1M",
            f"BWL C{channel.number},{'ON' if is_limited(channel) else 'OFF'}",
            f"{head}INVS OFF",
            f"{head}UNIT V",
            f"{head}ATTN {channel.attenuation:g}",
            f"{head}VDIV {scale_v(channel):g}V",
            f"{head}OFST {0.0 - channel.offset_v:g}V",
            f"{head}SKEW {1e9 * channel.deskew_s:g}NS",
        ]


def modelled(name: str, channels: int, on: Sequence[int]) -> ScopeModel:
    """Return what an instrument does with these channels on."""
    shares = any(pair <= set(on) for pair in PAIRS)
    return ScopeModel(
        name,
        channels,
        tuple((HALF_DEPTHS if shares else DEPTHS).values()),
        MOST_RATE_HZ / (2.0 if shares else 1.0),
        ROWS * CODES_PER_DIV,
        has_hires=False,
        longest_s=COLUMNS * LONGEST_DIV_S,
        spans_s=spans(COLUMNS, SHORTEST_DIV_S, LONGEST_DIV_S),
    )


def limits(channel: ChannelSetting) -> Specified:
    """Return the data sheet's limits of error."""
    div_v = scale_v(channel)
    fine = div_v / channel.attenuation < 5e-3 * (1.0 - 1e-9)
    return Specified(
        0.04 if fine else 0.03,
        0.01 * abs(channel.offset_v) + 0.015 * ROWS * div_v + 2e-3 * channel.attenuation,
    )
