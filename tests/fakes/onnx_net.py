"""Reads a small ONNX file and computes it with numpy: the arithmetic behind the fakes that take ONNX.

Knows what the tests' models are made of (MatMul, Gemm, Add, Relu, NonZero, Reshape, QuantizeLinear, DequantizeLinear). Field
numbers are those of onnx.proto. Runs in the worker, so in Python 3.6 syntax with numpy 1.19.
"""

from typing import Any, Callable, Dict, Iterator, List, Tuple, Union

import numpy as np

Array = Any
Shape = List[Union[int, str]]
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Port:
    """An input or output: name, numpy dtype name, shape with names where it is open."""

    def __init__(self, name: str, dtype: str, shape: Shape) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape


class Node:
    """An operator with the names of its tensors."""

    def __init__(self, op: str, name: str, inputs: List[str], outputs: List[str]) -> None:
        self.op = op
        self.name = name
        self.inputs = inputs
        self.outputs = outputs


class Net:
    """A graph: what it takes, what it gives, and its arithmetic."""

    def __init__(self) -> None:
        self.inputs: List[Port] = []
        self.outputs: List[Port] = []
        self.nodes: List[Node] = []
        self.constants: Dict[str, Array] = {}

    @property
    def is_quantised(self) -> bool:
        """Whether it quantises."""
        return any(node.op == "QuantizeLinear" for node in self.nodes)

    @property
    def precision(self) -> str:
        """The type of its floating-point weights."""
        kinds = [str(c.dtype) for c in self.constants.values() if c.dtype.kind == "f" and c.ndim]
        return kinds[0] if kinds else "float32"

    @property
    def has_open_shapes(self) -> bool:
        """Whether a dimension of an input is open."""
        return any(not isinstance(size, int) for port in self.inputs for size in port.shape)

    def run(self, feeds: Dict[str, Array], precision: str = "float32") -> Dict[str, Array]:
        """Return the outputs by name, every intermediate result rounded to a precision (float32, float16 or bfloat16)."""
        tensors = dict(self.constants)
        tensors.update(feeds)
        for node in self.nodes:
            arguments = [_rounded(tensors[name], precision) for name in node.inputs]
            tensors[node.outputs[0]] = _rounded(_OPERATORS[node.op](*arguments), precision)
        return {
            port.name: np.ascontiguousarray(tensors[port.name].astype(port.dtype)) for port in self.outputs
        }


def read(data: bytes) -> Net:
    """Return the net of an ONNX file's bytes. ValueError if they are none, or hold an operator not known here."""
    graphs = [value for field, kind, value in _fields(data) if field == 7 and kind == _BYTES]
    if len(graphs) != 1:
        raise ValueError("it holds {} graphs".format(len(graphs)))
    net = Net()
    for field, kind, value in _fields(graphs[0]):
        if kind != _BYTES:
            continue
        if field == 1:
            net.nodes.append(_node(value))
        elif field == 5:
            name, array = _tensor(value)
            net.constants[name] = array
        elif field in (11, 12):
            (net.inputs if field == 11 else net.outputs).append(_port(value))
    for node in net.nodes:
        if node.op not in _OPERATORS:
            raise ValueError("no operator '{}'".format(node.op))
    if not net.nodes:
        raise ValueError("it has no nodes")
    return net


def _rounded(array: Array, precision: str) -> Array:
    if array.dtype.kind != "f":
        return array
    if precision == "float16":
        return array.astype("float16").astype("float32")
    wide = array.astype("float32")
    if precision == "bfloat16":  # the upper half of a float32, to nearest
        bits = wide.view("uint32")
        return (
            (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        ).view("float32")
    return wide


def _quantize(x: Array, scale: Array, zero: Array) -> Array:
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(x / scale) + zero.astype("float32"), limits.min, limits.max).astype(zero.dtype)


def _dequantize(q: Array, scale: Array, zero: Array) -> Array:
    return ((q.astype("float32") - zero.astype("float32")) * scale).astype("float32")


_OPERATORS: Dict[str, Callable[..., Array]] = {
    "MatMul": lambda a, b: np.matmul(a, b),
    "Gemm": lambda a, b, c: np.matmul(a, b) + c,
    "Add": lambda a, b: a + b,
    "Relu": lambda a: np.maximum(a, 0),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "NonZero": lambda a: np.array(np.nonzero(a)),
    "Reshape": lambda a, shape: a.reshape([int(size) for size in shape]),
}


def _node(data: bytes) -> Node:
    parts: Dict[int, List[str]] = {1: [], 2: [], 3: [], 4: []}
    for field, kind, value in _fields(data):
        if kind == _BYTES and field in parts:
            parts[field].append(value.decode("utf-8"))
    return Node((parts[4] or [""])[0], (parts[3] or [""])[0], parts[1], parts[2])


def _tensor(data: bytes) -> Tuple[str, Array]:
    dims: List[int] = []
    dtype, name, raw = "", "", b""
    for field, kind, value in _fields(data):
        if field == 1 and kind == _VARINT:
            dims.append(value)
        elif field == 1:
            dims.extend(_packed(value))
        elif field == 2:
            dtype = _DTYPES.get(value, "")
        elif field == 8:
            name = value.decode("utf-8")
        elif field == 9:
            raw = value
    if not dtype:
        raise ValueError("the tensor '{}' has an unknown type".format(name))
    return name, np.frombuffer(raw, dtype=dtype).reshape(dims).copy()


def _port(data: bytes) -> Port:
    name, dtype, shape = "", "", []  # type: str, str, Shape
    for field, _, value in _fields(data):
        if field == 1:
            name = value.decode("utf-8")
        elif field == 2:
            for inner, kind, tensor in _fields(value):
                if inner == 1 and kind == _BYTES:
                    dtype, shape = _tensor_type(tensor)
    if not dtype:
        raise ValueError("'{}' is no tensor".format(name))
    return Port(name, dtype, shape)


def _tensor_type(data: bytes) -> Tuple[str, Shape]:
    dtype, shape = "", []  # type: str, Shape
    for field, _, value in _fields(data):
        if field == 1:
            dtype = _DTYPES.get(value, "")
        elif field == 2:
            shape = [_dimension(dim, at) for at, (_, _, dim) in enumerate(_fields(value))]
    return dtype, shape


def _dimension(data: bytes, at: int) -> Union[int, str]:
    for field, _, value in _fields(data):
        if field == 1:
            return int(value)
        if field == 2:
            return str(value.decode("utf-8"))
    return "dim{}".format(at)


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = _varint(data, at)
        yield number


def _fields(data: bytes) -> Iterator[Tuple[int, int, Any]]:
    """Yield field number, wire type and value; bytes for anything that has a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, kind, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a part of unknown kind {}".format(kind))
        if at + size > len(data):
            raise ValueError("it ends inside a part of {} bytes".format(size))
        yield tag >> 3, kind, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number is cut")
