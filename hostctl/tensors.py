"""Arrays and the protocol's tensors: C order, little-endian, dtypes by their numpy names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from farm.v1 import device_service_pb2 as pb
from farm.v1 import tensor_pb2

from hostctl.errors import DeviceError, UsageError

Array = npt.NDArray[Any]
_DTYPES = frozenset(
    (
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    )
) | {"bool"}
_LITTLE = {name: np.dtype(name).newbyteorder("<") for name in _DTYPES}
_INPUTS = pb.InferRequest.DESCRIPTOR.fields_by_name["inputs"].number
_DATA = tensor_pb2.Tensor.DESCRIPTOR.fields_by_name["data"].number


def to_tensor(name: str, array: Array) -> tensor_pb2.Tensor:
    """Return an array as a tensor. Raises UsageError for a dtype that the protocol does not know."""
    data = _bytes_of(name, array).tobytes()
    return tensor_pb2.Tensor(name=name, dtype=array.dtype.name, shape=array.shape, data=data)


def _bytes_of(name: str, array: Array) -> npt.NDArray[np.uint8]:
    if array.dtype.name not in _DTYPES:
        raise UsageError(
            f"Input '{name}' has dtype {array.dtype}, which no device takes; convert it to one of "
            f"{', '.join(sorted(_DTYPES))}."
        )
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)


def to_tensors(inputs: Mapping[str, Array]) -> list[tensor_pb2.Tensor]:
    """Return named arrays as tensors."""
    return [to_tensor(name, array) for name, array in inputs.items()]


def infer_message(model_id: str, inputs: Mapping[str, Array]) -> bytes:
    """Return a serialised InferRequest. Raises UsageError as `to_tensor` does.

    Protobuf would copy the data three times on the way; here they are copied once, behind the few bytes that protobuf makes of
    everything else (encoding: protobuf.dev/programming-guides/encoding).
    """
    parts: list[bytes | memoryview] = [pb.InferRequest(model_id=model_id).SerializeToString()]
    for name, array in inputs.items():
        data = _bytes_of(name, array)
        rest = tensor_pb2.Tensor(name=name, dtype=array.dtype.name, shape=array.shape).SerializeToString()
        rest += _opening(_DATA, data.nbytes)
        parts += [_opening(_INPUTS, len(rest) + data.nbytes), rest, data.data]
    return b"".join(parts)


def _opening(field: int, size_bytes: int) -> bytes:
    """Return the tag and length that come before a field of that many bytes."""
    found = bytearray([field << 3 | 2])
    while size_bytes > 127:
        found.append(size_bytes & 127 | 128)
        size_bytes >>= 7
    found.append(size_bytes)
    return bytes(found)


def to_array(tensor: tensor_pb2.Tensor) -> Array:
    """Return a tensor as a read-only array. Raises DeviceError if its size does not fit its shape."""
    shape = tuple(tensor.shape)
    dtype = _LITTLE.get(tensor.dtype)
    if dtype is None:
        raise DeviceError(
            f"Output '{tensor.name}' has dtype '{tensor.dtype}', which this hostctl does not know."
        )
    expected = math.prod(shape) * dtype.itemsize
    data = tensor.data  # each look at it copies it
    if expected != len(data):
        raise DeviceError(
            f"Output '{tensor.name}' has {len(data)} bytes, but shape {list(shape)} of {tensor.dtype} "
            f"needs {expected}; update farmd on the device."
        )
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def to_arrays(tensors: Iterable[tensor_pb2.Tensor]) -> dict[str, Array]:
    """Return tensors as arrays by name."""
    return {tensor.name: to_array(tensor) for tensor in tensors}


def random_inputs(specs: Iterable[tensor_pb2.TensorSpec], seed: int, batch: int) -> dict[str, Array]:
    """Return seeded inputs for a model: standard normal floats, whole-range 8-bit integers, 0/1 for the rest.

    A dynamic first dimension becomes `batch`. Raises UsageError where another dimension is dynamic.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _random(generator, spec, batch) for spec in specs}


def _random(generator: np.random.Generator, spec: tensor_pb2.TensorSpec, batch: int) -> Array:
    shape = [batch if index == 0 and size < 0 else size for index, size in enumerate(spec.shape)]
    if any(size < 0 for size in shape):
        raise UsageError(
            f"Input '{spec.name}' has the open shape {list(spec.shape)}; fix it with "
            f"'--shape {spec.name}=1,3,224,224' (your numbers)."
        )
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.itemsize == 1 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)
    return generator.integers(0, 2, size=shape).astype(dtype)
