"""The wire between the daemon and its worker: frames over a socket pair, tensors in a mapped file.

A frame is a 4-byte big-endian length and that many bytes of UTF-8 JSON, always one object. Tensors never
travel in a frame: both ends map one file and name places in it by tensor references,
``{"name", "dtype", "shape", "offset", "nbytes"}``; the bytes are C-order, little-endian, without padding, and
every offset is a multiple of ALIGNMENT. Standard library only: the daemon imports this module too.
"""

import json
import socket
import struct
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from targets.errors import InputInvalid, ProtocolError, WireClosed, WireGarbage

PROTOCOL = 1
MAX_FRAME_BYTES = 16 * 1024 * 1024
ALIGNMENT = 64

# Bytes of one element. The names are numpy's.
ITEM_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1,
    "int16": 2, "uint16": 2, "float16": 2,
    "int32": 4, "uint32": 4, "float32": 4,
    "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip

_LENGTH = struct.Struct(">I")
_RECEIVE_BYTES = 1 << 16
_FROM_JSON = json.JSONDecoder()
_TO_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encode(obj: Dict[str, Any]) -> bytes:
    """Return the frame of one object. ProtocolError if it is too large or not JSON (NaN is not JSON)."""
    try:
        body = _TO_JSON(obj).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise ProtocolError("This message cannot be written as JSON: {}.".format(error))
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(
            "This message has {} bytes; a frame holds at most {}.".format(len(body), MAX_FRAME_BYTES)
        )
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Cuts a byte stream into objects, in whatever pieces it arrives: for readers with an event loop."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Dict[str, Any]]:
        """Take the next bytes and return the objects they complete. WireGarbage ends the stream."""
        self._buffer += data
        found = []
        while len(self._buffer) >= _LENGTH.size:
            length = _body_length(bytes(self._buffer[: _LENGTH.size]))
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            found.append(_parse(bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return found

    @property
    def pending_bytes(self) -> int:
        """Bytes of an unfinished frame; not 0 at the end of the stream means that it was cut."""
        return len(self._buffer)


class Reader:
    """Reads objects from a socket: all that have come, by one call of the kernel."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = Decoder()

    def read(self) -> List[Dict[str, Any]]:
        """Wait for bytes and return the objects they complete, maybe none.

        WireClosed at the end of the stream, WireGarbage for anything but frames.
        """
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except ConnectionError as error:
            raise WireClosed("The other end of the wire is gone: {}.".format(error))
        if not data:
            inside = " inside a frame." if self._decoder.pending_bytes else "."
            raise WireClosed("The other end closed the wire" + inside)
        return self._decoder.feed(data)


def send(sock: socket.socket, obj: Dict[str, Any]) -> None:
    """Send one object. WireClosed if the other end is gone; a timeout of the socket is passed on."""
    frame = encode(obj)
    try:
        sock.sendall(frame)
    except (BrokenPipeError, ConnectionError) as error:
        raise WireClosed("The other end of the wire is gone: {}.".format(error))


def _body_length(prefix: bytes) -> int:
    length = int(_LENGTH.unpack(prefix)[0])
    if not 2 <= length <= MAX_FRAME_BYTES:
        raise WireGarbage(
            "A frame of {} bytes was announced; frames have 2 to {}.".format(length, MAX_FRAME_BYTES)
        )
    return length


def _parse(body: bytes) -> Dict[str, Any]:
    try:
        text = body.decode("utf-8")
        obj, end = _FROM_JSON.raw_decode(text)
        if end != len(text):
            raise ValueError("more than one value")
    except ValueError as error:
        raise WireGarbage("A frame holds no JSON: {}.".format(error))
    except RecursionError:
        raise WireGarbage("A frame holds JSON that is nested too deeply.")
    if not isinstance(obj, dict):
        raise WireGarbage("A frame holds a JSON {}, not an object.".format(type(obj).__name__))
    return obj


def tensor_nbytes(dtype: str, shape: Sequence[int]) -> int:
    """Return the bytes of a tensor. InputInvalid for an unknown dtype or a dimension that is negative."""
    if dtype not in ITEM_BYTES:
        raise InputInvalid(
            "The dtype '{}' is not known; use one of {}.".format(dtype, ", ".join(sorted(ITEM_BYTES))),
            field="dtype",
        )
    total = ITEM_BYTES[dtype]
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InputInvalid("The shape {} has a bad dimension.".format(list(shape)), field="shape")
        total *= size
    return total


def aligned(offset: int) -> int:
    """Return the first aligned offset at or after this one."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def layout(
    tensors: Iterable[Tuple[str, str, Sequence[int]]], start: int = 0
) -> Tuple[List[Dict[str, Any]], int]:
    """Place tensors (name, dtype, shape) one after the other from ``start``: their references, and the end.

    The end is aligned: a file of that size holds them all, and the next tensors may start there.
    """
    refs = []
    offset = aligned(start)
    for name, dtype, shape in tensors:
        nbytes = tensor_nbytes(dtype, shape)
        refs.append({"name": name, "dtype": dtype, "shape": list(shape), "offset": offset, "nbytes": nbytes})
        offset = aligned(offset + nbytes)
    return refs, offset


def check_ref(ref: Dict[str, Any], size_bytes: int) -> None:
    """Check one tensor reference against a file of that size.

    ProtocolError for a missing or mistyped member or a place outside of the file; InputInvalid where dtype,
    shape and byte count do not agree, which is the fault of the caller's tensor and not of the wire.
    """
    members = {"name": str, "dtype": str, "shape": list, "offset": int, "nbytes": int}
    for member, kind in members.items():
        if not isinstance(ref.get(member), kind) or isinstance(ref[member], bool):
            raise ProtocolError("A tensor reference needs '{}' as {}.".format(member, kind.__name__))
    expected = tensor_nbytes(ref["dtype"], ref["shape"])
    if ref["nbytes"] != expected:
        raise InputInvalid(
            "The tensor '{}' has {} bytes, but {} of shape {} takes {}.".format(
                ref["name"], ref["nbytes"], ref["dtype"], ref["shape"], expected
            ),
            field="nbytes",
            name=ref["name"],
        )
    if ref["offset"] < 0 or ref["offset"] % ALIGNMENT or ref["offset"] + ref["nbytes"] > size_bytes:
        raise ProtocolError(
            "The tensor '{}' at offset {} with {} bytes does not lie aligned in the mapped {} bytes.".format(
                ref["name"], ref["offset"], ref["nbytes"], size_bytes
            )
        )
