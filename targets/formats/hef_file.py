"""Who a HEF was compiled for: read from the first bytes of the file, without HailoRT.

HailoRT refuses a HEF of another chip with a bare status and writes the two names into its log only; its Python package has no
call that tells a HEF's architecture. Source: hailo-ai/hailort 4.23 and 5.2, libhailort/src/hef/hef_internal.hpp (hef__header_t)
and libhailort/hef.proto (ProtoHEFHeader, ProtoHEFHwArch).
"""

import struct
from typing import Dict, Optional

from targets.errors import ModelInvalid
from targets.formats.protobuf import BYTES, fields

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
        members = _header(head[_START_OF_PROTO[version] :])
        code, compiler = members.get(1, 0), members.get(3)
        architecture = _ARCHITECTURES.get(code, str(code)) if isinstance(code, int) else None
        return HefFacts(architecture, compiler.decode() if isinstance(compiler, bytes) else None)
    except (KeyError, ValueError, struct.error):
        return HefFacts(None, None)


def _header(data: bytes) -> Dict[int, object]:
    """Return the members of ProtoHEFHeader, which is field 1 of the file and its first: bytes as such, numbers as int."""
    for field, kind, (start, stop) in fields(data, 0, len(data)):
        if field != 1 or kind != BYTES:
            break
        return {
            number: data[value[0] : value[1]] if inner == BYTES else value[0]
            for number, inner, value in fields(data, start, stop)
        }
    raise ValueError("the header is not the first field")
