"""Reads the graph of a real .tflite file: as much of it as the fake Interpreter shows. Field numbers are schema.fbs's."""

import struct
from typing import Any, List, NamedTuple, Tuple

import numpy as np

DTYPES = {
    0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 7: np.int16, 9: np.int8,
}  # fmt: skip
_CUSTOM = 32
_NAMES = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 9: "FULLY_CONNECTED",
    17: "MAX_POOL_2D", 22: "RESHAPE", 25: "SOFTMAX", 114: "QUANTIZE",
}  # fmt: skip


class Tensor(NamedTuple):
    """A tensor of the main graph; ``signature`` has -1 where a size is open, scale 0.0 says that it is not quantised."""

    name: str
    shape: Tuple[int, ...]
    signature: Tuple[int, ...]
    dtype: Any
    scale: float
    zero_point: int


class Node(NamedTuple):
    """An operator of the main graph, or a delegate's."""

    name: str
    is_custom: bool
    inputs: List[int]
    outputs: List[int]


class Model(NamedTuple):
    """The main graph of a file."""

    tensors: List[Tensor]
    nodes: List[Node]
    inputs: List[int]
    outputs: List[int]


def read(path: str) -> Model:
    """Read a file, or fail as the vendor does: ValueError with its words."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        raise ValueError("Could not open '{}'.".format(path)) from None
    if data[4:8] != b"TFL3":
        raise ValueError(
            "Model provided has model identifier '{}', should be 'TFL3'\n".format(data[4:8].decode("latin-1"))
        )
    try:
        return _model(_Table(data, _get(data, "<I", 0)))
    except (struct.error, IndexError, KeyError, UnicodeDecodeError):
        raise ValueError("The model is not a valid Flatbuffer buffer") from None


def _get(data: bytes, kind: str, at: int) -> int:
    if at < 0:
        raise IndexError(at)
    return int(struct.unpack_from(kind, data, at)[0])


class _Table:
    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def place(self, number: int) -> int:
        vtable = self.at - _get(self.data, "<i", self.at)
        if 4 + 2 * number >= _get(self.data, "<H", vtable):
            return 0
        offset = _get(self.data, "<H", vtable + 4 + 2 * number)
        return self.at + offset if offset else 0

    def scalar(self, number: int, kind: str) -> int:
        place = self.place(number)
        return _get(self.data, kind, place) if place else 0

    def items(self, number: int, size: int) -> List[int]:
        place = self.place(number)
        if not place:
            return []
        start = place + _get(self.data, "<I", place)
        count = _get(self.data, "<I", start)
        if start + 4 + count * size > len(self.data):
            raise IndexError(start)
        return [start + 4 + at * size for at in range(count)]

    def numbers(self, number: int) -> List[int]:
        return [_get(self.data, "<i", at) for at in self.items(number, 4)]

    def tables(self, number: int) -> List["_Table"]:
        return [_Table(self.data, at + _get(self.data, "<I", at)) for at in self.items(number, 4)]

    def text(self, number: int) -> str:
        return bytes(self.data[at] for at in self.items(number, 1)).decode("utf-8")


def _model(root: _Table) -> Model:
    kinds = [(max(code.scalar(0, "<b"), code.scalar(3, "<i")), code.text(1)) for code in root.tables(1)]
    graph = root.tables(2)[0]
    nodes = []
    for operator in graph.tables(3):
        code, custom = kinds[operator.scalar(0, "<I")]
        name = custom if code == _CUSTOM else _NAMES.get(code, "BUILTIN_{}".format(code))
        nodes.append(Node(name, code == _CUSTOM, operator.numbers(1), operator.numbers(2)))
    return Model([_tensor(table) for table in graph.tables(0)], nodes, graph.numbers(1), graph.numbers(2))


def _tensor(table: _Table) -> Tensor:
    shape = tuple(table.numbers(0))
    scale, zero_point = 0.0, 0
    place = table.place(4)
    if place:
        quantisation = _Table(table.data, place + _get(table.data, "<I", place))
        scales, zeros = quantisation.items(2, 4), quantisation.items(3, 8)
        if len(scales) == len(zeros) == 1:
            scale = float(struct.unpack_from("<f", table.data, scales[0])[0])
            zero_point = _get(table.data, "<q", zeros[0])
    return Tensor(
        table.text(3),
        shape,
        tuple(table.numbers(7)) or shape,
        DTYPES[table.scalar(1, "<b")],
        scale,
        zero_point,
    )
