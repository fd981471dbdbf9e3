"""Large requests taken apart by hand mean what protobuf says they mean."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import tensor_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from farmd import lean
from farmd.tensors import TensorValue

TENSORS = st.builds(
    tensor_pb2.Tensor,
    name=st.text(max_size=5),
    dtype=st.sampled_from(["", "float32", "int8"]),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    data=st.binary(max_size=300),
)
REQUESTS = st.builds(
    pb.InferRequest,
    model_id=st.text(max_size=5),
    inputs=st.lists(TENSORS, max_size=3),
    request_id=st.text(max_size=5),
)


def plain(call: lean.InferCall) -> tuple[str, list[tuple[str, str, list[int], bytes]], str]:
    inputs: Sequence[TensorValue] = call.inputs
    return (
        call.model_id,
        [(t.name, t.dtype, t.shape, bytes(t.data)) for t in inputs],
        call.request_id,
    )


def expected(message: bytes) -> tuple[str, list[tuple[str, str, list[int], bytes]], str]:
    return plain(lean.from_request(pb.InferRequest.FromString(message)))


@given(REQUESTS)
def test_both_ways_agree(request: pb.InferRequest) -> None:
    message = request.SerializeToString()
    assert plain(lean._lean(message)) == expected(message)


@given(
    REQUESTS,
    st.lists(st.sampled_from([b"\x50\x05", b"\x5d1234", b"\x5912345678", b"\x62\x02ab"]), max_size=3),
)
def test_unknown_fields_are_passed_over(request: pb.InferRequest, unknown: list[bytes]) -> None:
    message = b"".join([*unknown, request.SerializeToString(), *unknown])
    assert plain(lean._lean(message)) == expected(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_mean_the_same(message: bytes) -> None:
    try:
        theirs = expected(message)
    except DecodeError:
        theirs = None
    try:
        ours = plain(lean._lean(message))
    except (DecodeError, ValueError, IndexError):
        return  # infer_request leaves these to protobuf
    assert ours == theirs


def test_the_last_of_a_repeated_scalar_wins() -> None:
    once = tensor_pb2.Tensor(name="a", data=b"one").SerializeToString()
    twice = once + tensor_pb2.Tensor(name="b", data=b"two").SerializeToString()
    message = pb.InferRequest(model_id="m").SerializeToString() + b"\x12" + bytes([len(twice)]) + twice
    assert plain(lean._lean(message)) == expected(message)


def test_a_large_tensor_is_a_view_of_the_message() -> None:
    data = bytes(range(256)) * 1024
    tensor = tensor_pb2.Tensor(name="x", dtype="uint8", shape=[len(data)], data=data)
    message = pb.InferRequest(model_id="m", inputs=[tensor], request_id="r").SerializeToString()
    (value,) = lean.infer_request(message).inputs
    assert isinstance(value.data, memoryview)
    assert value.data.obj is message
    assert value.data == data


@pytest.mark.parametrize("cut", [1, 1000, 70_000])
def test_a_malformed_large_message_is_protobufs_to_refuse(cut: int) -> None:
    tensor = tensor_pb2.Tensor(name="x", data=bytes(80_000))
    message = pb.InferRequest(model_id="m", inputs=[tensor], request_id="r").SerializeToString()
    with pytest.raises(DecodeError):
        lean.infer_request(message[:-cut])
    with pytest.raises(DecodeError):
        lean.infer_request(b"\xff" * 70_000)


@given(st.lists(st.tuples(REQUESTS, st.integers(0, 5)), max_size=3))
def test_a_parser_that_remembers_agrees(kinds: list[tuple[pb.InferRequest, int]]) -> None:
    parser = lean.InferParser()
    for request, fill in kinds:
        for tensor in request.inputs:
            tensor.data = bytes([fill]) * (lean.LEAN_FROM_BYTES + len(tensor.data))
        for _ in range(2):
            message = request.SerializeToString()
            assert plain(parser.parse(message)) == expected(message)
            for tensor in request.inputs:
                tensor.data = bytes([fill + 1]) * len(tensor.data)


def test_a_parser_sees_what_differs_from_the_last_request() -> None:
    parser = lean.InferParser()
    size = 2 * lean.LEAN_FROM_BYTES

    def message(name: str = "x", shape: int = size, request_id: str = "a", twice: bool = False) -> bytes:
        tensor = tensor_pb2.Tensor(name=name, dtype="int8", shape=[shape], data=bytes(size))
        request = pb.InferRequest(model_id="m", inputs=[tensor] * (1 + twice), request_id=request_id)
        return request.SerializeToString()

    changes = [message(), message("y"), message(shape=size + 1), message(request_id="b"), message(twice=True)]
    for change in changes:
        for each in (message(), change, change, message()):
            assert plain(parser.parse(each)) == expected(each)
