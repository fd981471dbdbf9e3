"""TFLite files for tests, written with the flatbuffer builder: no converter, any operator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import tflite


@dataclass
class T:
    """A tensor; `data` bytes make it a constant, `signature` gives open sizes as -1."""

    name: str
    shape: Sequence[int]
    type_name: str = "FLOAT32"
    data: bytes | None = None
    signature: Sequence[int] | None = None


@dataclass
class Op:
    """An operator by builtin name, or "CUSTOM:name"; inputs and outputs by tensor name, "" for one left out."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: str = ""
    values: dict[str, int] = field(default_factory=dict)


@dataclass
class G:
    """A subgraph."""

    tensors: Sequence[T]
    operators: Sequence[Op]
    inputs: Sequence[str]
    outputs: Sequence[str]


def weights(name: str, *shape: int, type_name: str = "INT8") -> T:
    """A constant of zeros."""
    count = 1
    for size in shape:
        count *= size
    return T(name, shape, type_name, bytes(count * {"INT8": 1, "FLOAT32": 4, "INT32": 4}[type_name]))


def write(path: Path, *graphs: G) -> Path:
    """Write a model of these subgraphs, the first one being the main graph."""
    builder: Any = flatbuffers.Builder(1024)
    kinds = sorted({operator.kind for graph in graphs for operator in graph.operators})
    buffers: list[bytes | None] = [None]
    made = [_subgraph(builder, graph, kinds, buffers) for graph in graphs]
    codes = [_code(builder, kind) for kind in kinds]
    data = [_buffer(builder, content) for content in buffers]
    graph_vector = _table_vector(builder, made)
    code_vector = _table_vector(builder, codes)
    data_vector = _table_vector(builder, data)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, code_vector)
    tflite.ModelAddSubgraphs(builder, graph_vector)
    tflite.ModelAddBuffers(builder, data_vector)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _subgraph(builder: Any, graph: G, kinds: list[str], buffers: list[bytes | None]) -> int:
    index_of = {tensor.name: index for index, tensor in enumerate(graph.tensors)} | {"": -1}
    tensors = _table_vector(builder, [_tensor(builder, tensor, buffers) for tensor in graph.tensors])
    made = [_operator(builder, operator, kinds, index_of) for operator in graph.operators]
    operators = _table_vector(builder, made)
    inputs = builder.CreateNumpyVector(_ints([index_of[name] for name in graph.inputs]))
    outputs = builder.CreateNumpyVector(_ints([index_of[name] for name in graph.outputs]))
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    return int(tflite.SubGraphEnd(builder))


def _tensor(builder: Any, tensor: T, buffers: list[bytes | None]) -> int:
    name = builder.CreateString(tensor.name)
    shape = builder.CreateNumpyVector(_ints(tensor.shape))
    signature = None if tensor.signature is None else builder.CreateNumpyVector(_ints(tensor.signature))
    buffer = 0
    if tensor.data is not None:
        buffer = len(buffers)
        buffers.append(tensor.data)
    tflite.TensorStart(builder)
    tflite.TensorAddName(builder, name)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, getattr(tflite.TensorType, tensor.type_name))
    tflite.TensorAddBuffer(builder, buffer)
    if signature is not None:
        tflite.TensorAddShapeSignature(builder, signature)
    return int(tflite.TensorEnd(builder))


def _operator(builder: Any, operator: Op, kinds: list[str], index_of: dict[str, int]) -> int:
    inputs = builder.CreateNumpyVector(_ints([index_of[name] for name in operator.inputs]))
    outputs = builder.CreateNumpyVector(_ints([index_of[name] for name in operator.outputs]))
    options = None
    if operator.options:
        getattr(tflite, f"{operator.options}Start")(builder)
        for name, value in operator.values.items():
            getattr(tflite, f"{operator.options}Add{name}")(builder, value)
        options = getattr(tflite, f"{operator.options}End")(builder)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, kinds.index(operator.kind))
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, operator.options))
        tflite.OperatorAddBuiltinOptions(builder, options)
    return int(tflite.OperatorEnd(builder))


def _code(builder: Any, kind: str) -> int:
    builtin, _, custom = kind.partition(":")
    number = getattr(tflite.BuiltinOperator, builtin)
    name = builder.CreateString(custom) if custom else None
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
    tflite.OperatorCodeAddBuiltinCode(builder, number)
    if name is not None:
        tflite.OperatorCodeAddCustomCode(builder, name)
    return int(tflite.OperatorCodeEnd(builder))


def _buffer(builder: Any, content: bytes | None) -> int:
    data = None if content is None else builder.CreateByteVector(content)
    tflite.BufferStart(builder)
    if data is not None:
        tflite.BufferAddData(builder, data)
    return int(tflite.BufferEnd(builder))


def _table_vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _ints(values: Sequence[int]) -> Any:
    import numpy as np

    return np.array(values, np.int32)
