"""Fixing the shapes of a model's inputs: what the caller binds, a batch of 1, and what stays open."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import onnx

from hostctl.errors import UsageError

_NAMELESS: Final = frozenset({"", "?", "-1", "None"})
"""What exporters write for "unknown": two of them need not be equal, as two dimensions of one name are."""

Dim = int | str | None
"""A size, a symbol, or None where the file says nothing (or −1, or 0)."""


@dataclass(frozen=True, slots=True)
class OpenDimension:
    """A dimension of an input that nobody fixed; `hint` is the --shape that would."""

    input_name: str
    hint: str


@dataclass(slots=True)
class Binding:
    """Shapes of the true inputs after binding; `open` is empty where all of them are numbers."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    open: list[OpenDimension] = field(default_factory=list)


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that a caller feeds: those that no initialiser fills."""
    filled = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in filled]


def bind_inputs(graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int]]) -> Binding:
    """Work out the shape of every tensor input. Raises UsageError for shapes that do not fit the model."""
    declared = {
        value.name: _dims(value) for value in true_inputs(graph) if value.type.HasField("tensor_type")
    }
    symbols = _symbols_from_caller(declared, shapes)
    for symbol in _batch_symbols(declared):
        symbols.setdefault(symbol, 1)
    binding = Binding()
    for name, dims in declared.items():
        if name in shapes:
            binding.shapes[name] = tuple(int(size) for size in shapes[name])
            continue
        if dims is None:
            binding.open.append(OpenDimension(name, f"--shape {name}=1,3,224,224, with its real shape"))
            continue
        fixed = [_fixed(dim, position, symbols) for position, dim in enumerate(dims)]
        if None in fixed:
            binding.open.append(OpenDimension(name, _hint(name, fixed, dims)))
        else:
            binding.shapes[name] = tuple(size for size in fixed if size is not None)
    return binding


def apply_binding(model: onnx.ModelProto, binding: Binding) -> None:
    """Write the bound shapes into the inputs and clear all other shapes, which may contradict them."""
    for value in model.graph.input:
        if value.name in binding.shapes:
            set_shape(value, binding.shapes[value.name])
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    clear_inner_shapes(model.graph)


def clear_inner_shapes(graph: onnx.GraphProto) -> None:
    """Forget the shapes that the file claims for inner tensors, in nested graphs too."""
    from hostctl.models.count.onnx_read import graphs_below

    for nested in graphs_below(graph):
        del nested.value_info[:]
        if nested is not graph:
            for value in nested.output:
                if value.type.HasField("tensor_type"):
                    value.type.tensor_type.ClearField("shape")


def set_shape(value: onnx.ValueInfoProto, shape: Sequence[int]) -> None:
    """Replace the shape of a tensor's declaration."""
    value.type.tensor_type.shape.Clear()
    value.type.tensor_type.shape.SetInParent()
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = int(size)


def _dims(value: onnx.ValueInfoProto) -> list[Dim] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [_dim(dim) for dim in tensor.shape.dim]


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.dim_value > 0:
        return int(dim.dim_value)
    symbol = str(dim.dim_param).strip()
    return None if symbol in _NAMELESS else symbol


def _symbols_from_caller(
    declared: Mapping[str, Sequence[Dim] | None], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    symbols: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in declared:
            raise UsageError(f"The model has no input '{name}'; {_nearest(name, list(declared))}.")
        text = ",".join(str(size) for size in shape)
        if any(int(size) <= 0 for size in shape):
            raise UsageError(f"The shape {text} for input '{name}' must be whole numbers above 0.")
        dims = declared[name]
        if dims is None:
            continue
        if len(dims) != len(shape):
            raise UsageError(
                f"Input '{name}' has {len(dims)} dimensions, but the shape {text} has {len(shape)}."
            )
        for dim, size in zip(dims, shape, strict=True):
            if isinstance(dim, int) and dim != size:
                raise UsageError(
                    f"Input '{name}' is fixed at {_text(dims)} in the model; {text} does not fit it."
                )
            if isinstance(dim, str) and symbols.setdefault(dim, int(size)) != size:
                raise UsageError(f"The shapes bind '{dim}' of the model to both {symbols[dim]} and {size}.")
    return symbols


def _batch_symbols(declared: Mapping[str, Sequence[Dim] | None]) -> list[str]:
    """Return the symbols that stand first in an input and so count as 1.

    A symbol that another input has inside, behind a different open first dimension, may be a sequence
    length as well as a batch: it stays open.
    """
    known = [dims for dims in declared.values() if dims]
    leading = {dims[0] for dims in known if isinstance(dims[0], str)}
    return sorted(symbol for symbol in leading if isinstance(symbol, str) and not _inside(symbol, known))


def _inside(symbol: str, known: Sequence[Sequence[Dim]]) -> bool:
    return any(
        symbol in dims[1:] and not isinstance(dims[0], int) for dims in known if dims[0] != symbol
    ) or any(symbol in dims[1:] for dims in known if dims[0] == symbol)


def _fixed(dim: Dim, position: int, symbols: Mapping[str, int]) -> int | None:
    if isinstance(dim, int):
        return dim
    if isinstance(dim, str):
        return symbols.get(dim)
    return 1 if position == 0 else None


def _hint(name: str, fixed: Sequence[int | None], dims: Sequence[Dim]) -> str:
    parts = [str(size) if size else f"<{dim or 'size'}>" for size, dim in zip(fixed, dims, strict=True)]
    return f"--shape {name}={','.join(parts)}"


def _text(dims: Sequence[Dim]) -> str:
    return "x".join(str(dim) if dim is not None else "?" for dim in dims)


def _nearest(name: str, known: list[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"did you mean '{lowered[close[0]]}'" if close else f"its inputs are {', '.join(known) or 'none'}"
