"""The preamble of newer Siglent oscilloscopes: WAVEDESC, 346 bytes, little-endian.

Source: SIGLENT "SDS Series Programming Guide" EN11, :WAVeform:PREamble. y = (code ÷ code_per_div · vdiv − offset) · probe. Codes
of converters with more than 8 bits are words, left-aligned; code_per_div counts in their steps. The field of the converter's
bits (0xAC) was seen to hold the width of a word, so it is not used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from power.drivers.common.codes import Scaling
from power.drivers.common.single_shot import check_finite
from power.errors import ReplyInvalid

WAVEDESC_BYTES = 346


@dataclass(frozen=True, slots=True)
class Wavedesc:
    """What of a preamble matters here.

    width       0 bytes, 1 words
    big_endian  whether the high byte of a word comes first
    step        every how many-th point is sent
    """

    width: int
    big_endian: bool
    points: int
    first: int
    step: int
    div_v: float
    offset_v: float
    codes_per_div: float
    interval_s: float
    delay_s: float
    probe: float

    @classmethod
    def parse(cls, payload: bytes, resource: str) -> Self:
        """Read a preamble. Raises ReplyInvalid if it is cut off or scales nothing."""
        if len(payload) < WAVEDESC_BYTES:
            raise ReplyInvalid(
                f"'{resource}' sent a preamble of {len(payload)} bytes instead of {WAVEDESC_BYTES}; measure again."
            )
        width, order = struct.unpack_from("<hh", payload, 0x20)
        (points,) = struct.unpack_from("<i", payload, 0x74)
        first, step = struct.unpack_from("<ii", payload, 0x84)
        div_v, offset_v, codes_per_div = struct.unpack_from("<fff", payload, 0x9C)
        (interval_s,) = struct.unpack_from("<f", payload, 0xB0)
        (delay_s,) = struct.unpack_from("<d", payload, 0xB4)
        (probe,) = struct.unpack_from("<f", payload, 0x148)
        check_finite((div_v, offset_v, codes_per_div, interval_s, delay_s, probe), "preamble", resource)
        if div_v <= 0.0 or codes_per_div <= 0.0 or interval_s <= 0.0 or probe <= 0.0 or width not in (0, 1):
            raise ReplyInvalid(
                f"'{resource}' sent a preamble that scales nothing; it holds no acquisition of this channel."
            )
        return cls(
            width,
            order == 1,
            points,
            first,
            step,
            div_v,
            offset_v,
            codes_per_div,
            interval_s,
            delay_s,
            probe,
        )

    def scaling(self, bits: int) -> Scaling:
        """Return how codes of a converter of so many bits become V at the probe's tip."""
        dtype = "i1" if self.width == 0 else (">i2" if self.big_endian else "<i2")
        end = 1 << (7 if self.width == 0 else 15)
        # Words are left-aligned, so the highest code has zeros below the converter's last bit.
        last = end - (1 if self.width == 0 else 1 << (16 - bits))
        gain = self.div_v / self.codes_per_div * self.probe
        return Scaling(dtype, gain, -self.offset_v * self.probe, -end, last)
