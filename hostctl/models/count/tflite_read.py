"""Reading a TFLite file into plain data, with every place in the file checked before it is believed.

The flatbuffer accessors of the `tflite` package do not verify: in a truncated file they raise anything or return
garbage. So lengths are held against the size of the file, and whatever they raise means a corrupt file.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hostctl.errors import ModelFileError
from hostctl.models.count.files import corrupt, require_file
from hostctl.models.count.onnx_node import Shape

_IDENTIFIER: Final = b"TFL3"
_FLATBUFFER_LIMIT_BYTES: Final = 2**31 - 1
_PLACEHOLDER: Final = 127
"""The older code field of an operator is 8 bits wide and holds this where the code is larger."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor; `dims` holds -1 where the size is open, `buffer` is the index of its constant data, or None."""

    name: str
    shape: Shape
    dims: Shape
    type_name: str
    buffer: int | None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator; inputs and outputs are tensor indexes, -1 for an input left out. Options by their names."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One graph of the file; the first one is the model, others are the bodies of its control flow."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(path: Path) -> tuple[Subgraph, ...]:
    """Read and check a TFLite file. Raises ModelFileError."""
    size_bytes = require_file(path)
    if size_bytes > _FLATBUFFER_LIMIT_BYTES:
        raise ModelFileError(
            f"'{path}' is larger than 2 GB, the limit of a TFLite file; split or quantise the model."
        )
    try:
        content = path.read_bytes()
    except (OSError, MemoryError) as error:
        raise ModelFileError(f"Cannot read '{path}': {error}; free memory or copy the file again.") from error
    if content[4:8] != _IDENTIFIER:
        raise corrupt(path, "it does not start like a TFLite file")
    try:
        return _Reader(content).subgraphs()
    except _CorruptError as error:
        raise corrupt(path, str(error)) from None
    except (
        struct.error,
        IndexError,
        ValueError,
        TypeError,
        OverflowError,
        KeyError,
        AttributeError,
    ) as error:
        raise corrupt(path, "its tables point outside the file, it may be truncated") from error


class _CorruptError(Exception):
    """The clause that says what is wrong."""


class _Reader:
    """Walks the tables of one file."""

    def __init__(self, content: bytes) -> None:
        import tflite

        self._tflite = tflite
        self._size_bytes = len(content)
        self._model = tflite.Model.GetRootAs(content, 0)
        self._kinds = _names_of(tflite.BuiltinOperator)
        self._types = _names_of(tflite.TensorType)
        self._options = _names_of(tflite.BuiltinOptions)
        self._options2 = _names_of(tflite.BuiltinOptions2)

    def subgraphs(self) -> tuple[Subgraph, ...]:
        self._filled = [self._has_data(index) for index in range(self._checked(self._model.BuffersLength()))]
        self._codes = [self._code(index) for index in range(self._checked(self._model.OperatorCodesLength()))]
        count = self._checked(self._model.SubgraphsLength())
        if not count:
            raise _CorruptError("it has no graph")
        graphs = tuple(self._subgraph(self._model.Subgraphs(index)) for index in range(count))
        if not graphs[0].outputs:
            raise _CorruptError("its graph has no outputs")
        return graphs

    def _checked(self, length: int) -> int:
        if not 0 <= length <= self._size_bytes:
            raise _CorruptError("a table is longer than the file")
        return length

    def _has_data(self, index: int) -> bool:
        buffer = self._model.Buffers(index)
        outside = buffer.Offset() + buffer.Size() if buffer.Size() > 1 else 0
        length = buffer.DataLength()
        if length:
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            if start + length > self._size_bytes:
                raise _CorruptError("weights reach past its end, it is truncated")
        if outside > self._size_bytes:
            raise _CorruptError("weights reach past its end, it is truncated")
        return bool(length or outside)

    def _code(self, index: int) -> str:
        code = self._model.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self._kinds.get(number, f"BUILTIN_{number}")
        if name == "CUSTOM":
            custom = code.CustomCode()
            return f"CUSTOM:{custom.decode(errors='replace') if custom else 'unnamed'}"
        return name

    def _subgraph(self, graph: Any) -> Subgraph:
        tensors = tuple(self._tensor(graph.Tensors(i)) for i in range(self._checked(graph.TensorsLength())))
        operators = tuple(
            self._operator(graph.Operators(i)) for i in range(self._checked(graph.OperatorsLength()))
        )
        inputs = tuple(graph.Inputs(i) for i in range(self._checked(graph.InputsLength())))
        outputs = tuple(graph.Outputs(i) for i in range(self._checked(graph.OutputsLength())))
        named = [*inputs, *outputs, *(i for op in operators for i in (*op.inputs, *op.outputs))]
        if any(not -1 <= index < len(tensors) for index in named):
            raise _CorruptError("an operator names a tensor that does not exist")
        return Subgraph(tensors, operators, inputs, outputs)

    def _tensor(self, tensor: Any) -> Tensor:
        shape = tuple(tensor.Shape(i) for i in range(self._checked(tensor.ShapeLength())))
        signature = tuple(
            tensor.ShapeSignature(i) for i in range(self._checked(tensor.ShapeSignatureLength()))
        )
        buffer = tensor.Buffer()
        if buffer >= len(self._filled):
            raise _CorruptError("a tensor names a buffer that does not exist")
        name = tensor.Name()
        return Tensor(
            name=name.decode(errors="replace") if name else "",
            shape=shape,
            dims=signature if len(signature) == len(shape) else shape,
            type_name=self._types.get(tensor.Type(), "UNKNOWN"),
            buffer=buffer if buffer and self._filled[buffer] else None,
        )

    def _operator(self, operator: Any) -> Operator:
        return Operator(
            kind=self._codes[operator.OpcodeIndex()],
            inputs=tuple(operator.Inputs(i) for i in range(self._checked(operator.InputsLength()))),
            outputs=tuple(operator.Outputs(i) for i in range(self._checked(operator.OutputsLength()))),
            options={**self._read_options(operator, ""), **self._read_options(operator, "2")},
        )

    def _read_options(self, operator: Any, suffix: str) -> dict[str, int]:
        number = getattr(operator, f"BuiltinOptions{suffix}Type")()
        names = self._options2 if suffix else self._options
        table = getattr(operator, f"BuiltinOptions{suffix}")()
        kind = getattr(self._tflite, names.get(number, ""), None) if table is not None else None
        if kind is None:
            return {}
        options = kind()
        options.Init(table.Bytes, table.Pos)
        found = {name: getattr(options, name)() for name in _WANTED_OPTIONS if hasattr(options, name)}
        return {name: int(value) for name, value in found.items()}


_WANTED_OPTIONS: Final = (
    "AdjX",
    "BodySubgraphIndex",
    "CondSubgraphIndex",
    "DecompositionSubgraphIndex",
    "ElseSubgraphIndex",
    "FilterHeight",
    "FilterWidth",
    "FusedActivationFunction",
    "InitSubgraphIndex",
    "Subgraph",
    "ThenSubgraphIndex",
    "TimeMajor",
)


def _names_of(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
