"""Takes large inference requests apart without copying their tensors.

Protobuf copies the bytes of a tensor when it parses a message, and again each time they are looked at. Each copy of
an image throws the caches of a small board over. Here the tensors' data stay where gRPC put them, and only what is
left of the message, some hundred bytes, goes through protobuf. The encoding is that of protobuf.dev/programming-guides/
encoding; whatever does not look like the sender's side of it is left to protobuf to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from farm.v1 import device_service_pb2 as pb
from farm.v1 import tensor_pb2

from farmd.tensors import TensorValue, values

LEAN_FROM_BYTES = 1 << 16
"""Below this, protobuf alone is faster."""

_INPUTS = pb.InferRequest.DESCRIPTOR.fields_by_name["inputs"].number
_DATA = tensor_pb2.Tensor.DESCRIPTOR.fields_by_name["data"].number
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class InferCall(NamedTuple):
    """An InferRequest, its tensors views of the message that arrived."""

    model_id: str
    inputs: Sequence[TensorValue]
    request_id: str


def infer_request(message: bytes) -> InferCall:
    """Parse an InferRequest. Raises protobuf's DecodeError for a malformed one."""
    if len(message) >= LEAN_FROM_BYTES:
        try:
            return _lean(message)
        except (ValueError, IndexError):
            pass  # protobuf says better what is wrong, or finds that nothing is
    return from_request(pb.InferRequest.FromString(message))


class _Form(NamedTuple):
    """A request with one large tensor: its size, what comes before the tensor's data and after, and what they say."""

    size_bytes: int
    head: bytes
    tail: bytes
    call: InferCall
    tensor: TensorValue


class InferParser:
    """Parses InferRequests one after the other. A client mostly sends the same with other data, which is seen at once."""

    def __init__(self) -> None:
        self._last: _Form | None = None

    def parse(self, message: bytes) -> InferCall:
        """Parse an InferRequest. Raises protobuf's DecodeError for a malformed one."""
        last = self._last
        if (
            last is not None
            and len(message) == last.size_bytes
            and message.startswith(last.head)
            and message.endswith(last.tail)
        ):
            data = memoryview(message)[len(last.head) : len(message) - len(last.tail)]
            return last.call._replace(inputs=[last.tensor._replace(data=data)])
        call = infer_request(message)
        self._last = _form(message, call)
        return call


def _form(message: bytes, call: InferCall) -> _Form | None:
    if len(call.inputs) != 1 or not isinstance(call.inputs[0].data, memoryview):
        return None
    (tensor,) = call.inputs
    start = _place(message)
    if start is None:
        return None
    end = start + len(tensor.data)
    without = tensor._replace(data=b"")
    return _Form(len(message), message[:start], message[end:], call._replace(inputs=[]), without)


def _place(message: bytes) -> int | None:
    """Return where the data start, if the message has them only once."""
    view = memoryview(message)
    places = [
        content + at
        for number, _, content, end in _fields(view)
        if number == _INPUTS
        for inner, _, at, _ in _fields(view[content:end])
        if inner == _DATA
    ]
    return places[0] if len(places) == 1 else None


def from_request(request: pb.InferRequest) -> InferCall:
    """Take a parsed request apart."""
    return InferCall(request.model_id, values(request.inputs), request.request_id)


def _lean(message: bytes) -> InferCall:
    view = memoryview(message)
    rest = bytearray()
    inputs = []
    for number, start, content, end in _fields(view):
        if number == _INPUTS:
            inputs.append(_tensor(view[content:end]))
        else:
            rest += view[start:end]
    request = pb.InferRequest.FromString(bytes(rest))
    return InferCall(request.model_id, inputs, request.request_id)


def _tensor(view: memoryview) -> TensorValue:
    rest = bytearray()
    data = view[:0]
    for number, start, content, end in _fields(view):
        if number == _DATA:
            data = view[content:end]
        else:
            rest += view[start:end]
    tensor = tensor_pb2.Tensor.FromString(bytes(rest))
    return TensorValue(tensor.name, tensor.dtype, list(tensor.shape), data)


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, start, start of the content and end of each field. ValueError, IndexError: malformed.

    A field of another kind than bytes is given the number 0, which no field has: nobody here looks into it.
    """
    at = 0
    while at < len(view):
        start = at
        tag, at = _varint(view, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(view, at)
            end = at + size
            number = tag >> 3
        else:
            number = 0
            if kind == _VARINT:
                _, end = _varint(view, at)
            elif kind in (_FIXED64, _FIXED32):
                end = at + (8 if kind == _FIXED64 else 4)
            else:
                raise ValueError("a kind of field that this code does not know")
        if end > len(view):
            raise ValueError("a field beyond the end")
        yield number, start, at, end
        at = end


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number of more than ten bytes")


DESERIALIZERS: Mapping[str, Callable[[bytes], Any]] = {"/farm.v1.DeviceService/Infer": InferParser().parse}
"""For the server: the methods whose requests are parsed here, and how."""
