"""Reads the fake's HEF files: the real header, with the real checks, around a JSON description of a small network.

Layout: hef__header_t version 0 (magic, version, size, reserved, MD5 of the rest), then a protocol buffer ProtoHEFHef with its
header and, as ``mapping``, the JSON. Source: hailo-ai/hailort 4.23, hef_internal.hpp, hef.proto and hef.cpp (status numbers).

The JSON: ``architecture`` ("HAILO8"), ``compiler`` ("3.31.0"), ``inputs`` and ``outputs``: lists of objects with ``name``,
``shape`` (one frame), ``order`` ("NHWC"), ``type`` ("UINT8"), ``scale`` and ``zero_point`` (a list of scales: per channel), and
for detections ``nms`` {"classes", "max_bboxes"}; ``groups`` (1), the number of network groups.
"""

import hashlib
import json
import struct
from typing import Any, Dict, Tuple

FILE_CORRUPTED = 91
NOT_SUPPORTED = 92


class BrokenError(Exception):
    """HailoRT refuses the file; ``status`` is what it says."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


def unpack(data: bytes) -> Dict[str, Any]:
    """Return the description in a HEF, checked as HailoRT checks. BrokenError."""
    if len(data) < 32:
        raise BrokenError(FILE_CORRUPTED)
    magic, _, size, _ = struct.unpack(">4sIII", data[:16])
    if magic != b"\x01HEF":
        raise BrokenError(NOT_SUPPORTED)
    proto = data[32:]
    if len(proto) != size or hashlib.md5(proto).digest() != data[16:32]:
        raise BrokenError(FILE_CORRUPTED)
    length, at = _varint(proto, 1)
    length, at = _varint(proto, at + length + 1)
    found: Dict[str, Any] = json.loads(proto[at : at + length].decode())
    return found


def _varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
