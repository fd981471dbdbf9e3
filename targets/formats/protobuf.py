"""Walks a protocol buffer by hand, because a board has no package for each vendor's schema.

Source: Protocol Buffers documentation, Encoding.
"""

from typing import Any, Iterator, Tuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(data: Any, start: int, stop: int) -> Iterator[Tuple[int, int, Tuple[int, int]]]:
    """Yield field number, wire type and, for bytes, their place; for numbers, (value, 0)."""
    at = start
    while at < stop:
        tag, at = varint(data, at, stop)
        field, kind = tag >> 3, tag & 7
        if field == 0:
            raise ValueError("field 0 at byte {}".format(at))
        if kind == VARINT:
            number, at = varint(data, at, stop)
            yield field, kind, (number, 0)
        elif kind == BYTES:
            size, at = varint(data, at, stop)
            if at + size > stop:
                raise ValueError("it ends at byte {}, inside a part of {} bytes".format(stop, size))
            yield field, kind, (at, at + size)
            at += size
        elif kind in (FIXED64, FIXED32):
            at += 8 if kind == FIXED64 else 4
            if at > stop:
                raise ValueError("it ends inside a number")
        else:
            raise ValueError("a part of unknown kind {} at byte {}".format(kind, at))


def varint(data: Any, at: int, stop: int) -> Tuple[int, int]:
    value = shift = 0
    while at < stop and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number is cut at byte {}".format(at))
