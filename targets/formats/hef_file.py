"""Who a HEF was compiled for: read from the first bytes of the file, without HailoRT.

HailoRT refuses a HEF of another chip with a bare status and writes the two names into its log only; its Python package has no
call that tells a HEF's architecture. Source: hailo-ai/hailort 4.23 and 5.2, libhailort/src/hef/hef_internal.hpp (hef__header_t)
and libhailort/hef.proto (ProtoHEFHeader, ProtoHEFHwArch).
"""

import struct
from typing import Dict, Optional, Tuple

from targets.errors import ModelInvalid

MAGIC = b"\x01HEF"
_START_OF_PROTO = {
    0: 32,
    1: 28,
    2: 44,
    3: 56,
}  # version of the header -> its size; all integers are big-endian
_HEAD_BYTES = 512
_ARCHITECTURES = {
    0: "HAILO8", 1: "HAILO8P", 2: "HAILO8R", 3: "HAILO8L", 4: "HAILO15M", 5: "HAILO10H", 6: "HAILO15L",
    103: "HAILO15H or HAILO10H", 108: "MARS",
}  # fmt: skip


class HefFacts:
    """architecture and compiler (version of the Dataflow Compiler) of a HEF; None where the file does not tell."""

    def __init__(self, architecture: Optional[str], compiler: Optional[str]) -> None:
        self.architecture = architecture
        self.compiler = compiler


def read(path: str) -> HefFacts:
    """Read the head of a HEF. ModelInvalid if the file is none; what cannot be understood is None, for HailoRT decides."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:4] != MAGIC:
        raise ModelInvalid(
            "The file {} is no HEF: it does not begin with the mark of one; compile the model with Hailo's Dataflow "
            "Compiler.".format(path),
            path=path,
        )
    try:
        (version,) = struct.unpack(">I", head[4:8])
        fields = _fields(_submessage(head[_START_OF_PROTO[version] :]))
        code, compiler = fields.get(1, 0), fields.get(3)
        architecture = _ARCHITECTURES.get(code, str(code)) if isinstance(code, int) else None
        return HefFacts(architecture, compiler.decode() if isinstance(compiler, bytes) else None)
    except (KeyError, IndexError, ValueError, struct.error):
        return HefFacts(None, None)


def _submessage(data: bytes) -> bytes:
    """Return field 1 of a protocol buffer that begins with it: the header of the HEF."""
    if data[0] != 0x0A:
        raise ValueError("the header is not the first field")
    size, at = _varint(data, 1)
    return data[at : at + size]


def _fields(data: bytes) -> Dict[int, object]:
    """Return number -> value of the varints and byte strings of a protocol buffer."""
    found: Dict[int, object] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 0:
            found[key >> 3] = value
        elif key & 7 == 2:
            found[key >> 3] = data[at : at + value]
            at += value
        else:
            raise ValueError("a field of another kind")
    return found


def _varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
