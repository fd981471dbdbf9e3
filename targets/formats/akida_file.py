"""An Akida model file (.fbz): looked over before the vendor's reader, which dies (SIGSEGV) on one that was cut.

The file is one FlatBuffer compressed by Snappy, in a buffer of the size that Snappy needs at worst, written whole with its
unused end. The tags of the compressed stream are walked without unpacking anything. Source: format_description.txt of Snappy
and MaxCompressedLength of snappy.cc; that the file is such a buffer was found with akida 2.19.
"""

import mmap
from typing import Any, Tuple

from targets.errors import ModelInvalid

_SMALLEST_FLATBUFFER = 8


def check(path: str) -> None:
    """ModelInvalid unless the file holds a whole Snappy stream."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            _walk(data)
        except (ValueError, IndexError) as error:
            why = "it ends too soon" if isinstance(error, IndexError) else str(error)
            raise ModelInvalid(
                "The model file {} is not a whole Akida model ({}); make it with Model.save() of the akida package, "
                "and copy it again if it was cut.".format(path, why),
                path=path,
            )
        finally:
            data.close()


def _walk(data: Any) -> None:
    expected, at = _varint(data)
    if expected < _SMALLEST_FLATBUFFER:
        raise ValueError("it announces {} bytes".format(expected))
    made, size = 0, len(data)
    while made < expected:
        tag = data[at]
        length, at, offset = _literal(data, at) if tag & 3 == 0 else _copy(data, at)
        if offset is None:
            at += length
        elif not 0 < offset <= made:
            raise ValueError("byte {} refers to what is not there".format(at))
        if at > size:
            raise ValueError("it ends inside a part")
        made += length
    if made != expected:
        raise ValueError("it unpacks to {} bytes instead of {}".format(made, expected))
    if at < size < 32 + expected + expected // 6:
        raise ValueError("it is shorter than its buffer")


def _literal(data: Any, at: int) -> Tuple[int, int, None]:
    """Return the length of a literal and where its bytes begin."""
    length = data[at] >> 2
    at += 1
    if length < 60:
        return length + 1, at, None
    width = length - 59
    return int.from_bytes(_bytes(data, at, width), "little") + 1, at + width, None


def _copy(data: Any, at: int) -> Tuple[int, int, int]:
    """Return the length of a copy, where the next tag is, and how far back it looks."""
    tag = data[at]
    if tag & 3 == 1:
        return ((tag >> 2) & 7) + 4, at + 2, ((tag >> 5) << 8) | data[at + 1]
    width = 2 if tag & 3 == 2 else 4
    return (tag >> 2) + 1, at + 1 + width, int.from_bytes(_bytes(data, at + 1, width), "little")


def _bytes(data: Any, at: int, width: int) -> bytes:
    if at + width > len(data):
        raise ValueError("it ends inside a tag")
    return bytes(data[at : at + width])


def _varint(data: Any) -> Tuple[int, int]:
    value = shift = at = 0
    while shift < 35:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("it begins with no length")
