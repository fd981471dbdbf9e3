"""Reading an ONNX file: whole, its outside weights there, its local functions inlined."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_tensor

from hostctl.errors import ModelFileError
from hostctl.models.count.files import corrupt, require_file

_PROTOBUF_LIMIT_BYTES = 2**31 - 1
SMALL_ELEMENTS: Final = 1024
"""Larger constants are weights: no shape is computed from so many numbers."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read and check a model; weights in outside files stay there. Raises ModelFileError."""
    size_bytes = require_file(path)
    if size_bytes > _PROTOBUF_LIMIT_BYTES:
        raise ModelFileError(
            f"'{path}' is larger than 2 GB, the limit of an ONNX file; save its weights as external data."
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise corrupt(path, "it cannot be parsed as ONNX, it may be truncated") from error
    except (OSError, MemoryError) as error:
        raise ModelFileError(f"Cannot read '{path}': {error}; free memory or copy the file again.") from error
    _check_whole(path, model)
    for tensor in all_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_outside(path, tensor)
            _read_small(path, tensor)
    return _inlined(path, model)


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every stored tensor of a model: initialisers and attributes, in nested graphs and functions too."""
    for graph in graphs_below(model.graph):
        yield from graph.initializer
        for node in graph.node:
            yield from _attribute_tensors(node)
    for function in model.functions:
        for node in function.node:
            yield from _attribute_tensors(node)
            for body in subgraphs(node):
                for graph in graphs_below(body):
                    yield from graph.initializer


def graphs_below(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and all graphs nested in it."""
    yield graph
    for node in graph.node:
        for body in subgraphs(node):
            yield from graphs_below(body)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the bodies of a control-flow node, in the order of its attributes."""
    found = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    for attribute in node.attribute:
        found.extend(attribute.graphs)
    return found


def _attribute_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors


def _check_whole(path: Path, model: onnx.ModelProto) -> None:
    if not model.HasField("graph") or not model.graph.output or not model.opset_import:
        raise corrupt(path, "it has no graph, no outputs or no operator set")
    local = {function.name for function in model.functions}
    if not model.graph.node and not local:
        raise corrupt(path, "its graph has no nodes")
    missing = _dangling(model.graph, frozenset())
    if missing is not None:
        raise corrupt(path, f"no node produces '{missing}', which another one reads")


def _dangling(graph: onnx.GraphProto, outer: frozenset[str]) -> str | None:
    """Return the first name that is read before anything produces it."""
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | outer
    known |= {tensor.values.name for tensor in graph.sparse_initializer} | {""}
    for node in graph.node:
        unknown = next((name for name in node.input if name not in known), None)
        if unknown is not None:
            return unknown
        for body in subgraphs(node):
            unknown = _dangling(body, frozenset(known))
            if unknown is not None:
                return unknown
        known.update(node.output)
    return next((value.name for value in graph.output if value.name not in known), None)


def _check_outside(path: Path, tensor: onnx.TensorProto) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    outside = path.parent / entries.get("location", "")
    if not outside.is_file():
        raise ModelFileError(
            f"'{path}' keeps weights in '{entries.get('location')}', which is not beside it; copy that file too."
        )
    try:
        length = int(entries.get("length", "0")) or _size_bytes(tensor)
        end = int(entries.get("offset", "0")) + length
    except (ValueError, KeyError):
        raise corrupt(path, f"the place of the weights '{tensor.name}' is not a number") from None
    if outside.stat().st_size < end:
        raise corrupt(path, f"'{outside.name}' is too short for the weights '{tensor.name}'")


def _size_bytes(tensor: onnx.TensorProto) -> int:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(prod(tensor.dims) * dtype.itemsize)


def _read_small(path: Path, tensor: onnx.TensorProto) -> None:
    """Take small tensors into the model: shapes may be computed from them. Weights stay outside."""
    if prod(tensor.dims) > SMALL_ELEMENTS:
        return
    try:
        load_external_data_for_tensor(tensor, str(path.parent))
    except Exception as error:  # onnx raises several kinds, for places outside the folder among others.
        raise corrupt(path, f"the weights '{tensor.name}' cannot be read from their file") from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _inlined(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise corrupt(path, "its local functions cannot be expanded") from error
