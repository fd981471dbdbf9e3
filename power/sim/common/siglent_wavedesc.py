"""The preamble of simulated Siglent oscilloscopes: the 346 bytes of WAVEDESC, of which drivers read a part.

Source: SIGLENT "SDS Series Programming Guide" EN11, :WAVeform:PREamble.
"""

from __future__ import annotations

import struct

from power.drivers.common.siglent_wavedesc import WAVEDESC_BYTES, Wavedesc


def packed(told: Wavedesc) -> bytes:
    """Return the bytes of a preamble."""
    made = bytearray(WAVEDESC_BYTES)
    made[:8] = b"WAVEDESC"
    struct.pack_into("<hh", made, 0x20, told.width, int(told.big_endian))
    struct.pack_into("<i", made, 0x3C, told.points * (1 + told.width))
    struct.pack_into("<i", made, 0x74, told.points)
    struct.pack_into("<ii", made, 0x84, told.first, told.step)
    struct.pack_into("<fff", made, 0x9C, told.div_v, told.offset_v, told.codes_per_div)
    struct.pack_into("<h", made, 0xAC, 16 if told.width else 8)
    struct.pack_into("<f", made, 0xB0, told.interval_s)
    struct.pack_into("<d", made, 0xB4, told.delay_s)
    struct.pack_into("<f", made, 0x148, told.probe)
    return bytes(made)
