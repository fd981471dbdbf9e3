"""HEF files for the fake of HailoRT: the real header with its checks around a JSON description of a small network.

Layout: hef__header_t version 0 (magic, version, size, reserved, MD5 of the rest), then a protocol buffer ProtoHEFHef with its
header (architecture, compiler version) and, as ``mapping``, the JSON. Source: hailo-ai/hailort 4.23, hef_internal.hpp, hef.proto.
tests/fakes/hailort reads it, and says what the JSON may hold.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

MAGIC = b"\x01HEF"
CODES = {"HAILO8": 0, "HAILO8R": 2, "HAILO8L": 3, "HAILO15M": 4, "HAILO15L": 6, "HAILO10H": 103}


def stream(name: str, shape: list[int], **members: Any) -> dict[str, Any]:
    """Return the description of a stream: UINT8 in NHWC with the scale 1 unless told."""
    usual = {"order": "NHWC", "type": "UINT8", "scale": 1.0, "zero_point": 0}
    return {"name": name, "shape": shape, **usual, **members}


def network(**members: Any) -> dict[str, Any]:
    """Return a network with one input of 6 x 6 x 3 and one output of 10, both UINT8, unless told."""
    usual = {
        "architecture": "HAILO8",
        "compiler": "3.31.0",
        "inputs": [stream("net/input_layer1", [6, 6, 3], scale=1 / 255)],
        "outputs": [stream("net/fc1", [10], order="NC", scale=0.02, zero_point=128)],
    }
    return {**usual, **members}


def pack(model: dict[str, Any]) -> bytes:
    """Return the bytes of a HEF."""
    header = b"\x08" + _varint(CODES[model["architecture"]]) + _field(3, model["compiler"].encode())
    proto = _field(1, header) + _field(3, json.dumps(model).encode())
    return struct.pack(">4sIII", MAGIC, 0, len(proto), 0) + hashlib.md5(proto).digest() + proto


def write(folder: Path, **members: Any) -> Path:
    """Write a HEF of a network and return its path."""
    path = folder / "model.hef"
    path.write_bytes(pack(network(**members)))
    return path


def hef_model(folder: Path) -> tuple[Path, str]:
    """The small network for a Hailo-8."""
    return write(folder), "hef"


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])
