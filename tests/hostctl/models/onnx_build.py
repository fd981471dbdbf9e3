"""Small ONNX models for the tests of counting: one line each, written to a file."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hostctl.models.count import count_operations

Dims = Sequence[int | str | None]
MICROSOFT = "com.microsoft"


def tensor(name: str, dims: Dims | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Declare an input or output."""
    return helper.make_tensor_value_info(name, kind, dims)


def weight(name: str, *dims: int, dtype: Any = np.float32) -> onnx.TensorProto:
    """Make an initialiser of small values that are not all equal."""
    values = np.arange(int(np.prod(dims))) % 7
    return numpy_helper.from_array(
        (values.astype(np.float64) / 7 if dtype == np.float32 else values).astype(dtype).reshape(dims), name
    )


def const(name: str, value: Any, dtype: Any) -> onnx.TensorProto:
    """Make an initialiser of the given value."""
    return numpy_helper.from_array(np.array(value, dtype), name)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[str],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
    domains: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> Path:
    """Write a model whose outputs declare no shape, so that a count must work shapes out."""
    made = [onnx.ValueInfoProto(name=name) for name in outputs]
    for value in made:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph(list(nodes), "g", list(inputs), made, list(weights))
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(domain, version) for domain, version in (domains or {}).items()]
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=9)
    onnx.save(model, path)
    return path


def one(
    path: Path,
    operator: str,
    inputs: Mapping[str, Dims],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    order: Sequence[str] | None = None,
    outputs: Sequence[str] = ("y",),
    domain: str = "",
    opset: int = 17,
    **attributes: Any,
) -> Path:
    """Write a model of one node: its inputs are `inputs`, then `weights`, unless `order` says otherwise."""
    names = list(order) if order is not None else [*inputs, *(item.name for item in weights)]
    node = helper.make_node(operator, names, list(outputs), name="node", domain=domain, **attributes)
    declared = [tensor(name, dims) for name, dims in inputs.items()]
    domains = {domain: 1} if domain else {}
    return save(path, [node], declared, [outputs[0]], weights, opset=opset, domains=domains)


def macs_of(path: Path, shapes: dict[str, list[int]] | None = None) -> float | None:
    """Count a file and return its MACs."""
    return count_operations(path, shapes).macs


def mlp(path: Path, batch: int | str | None, layers: tuple[int, ...] = (784, 32, 10)) -> Path:
    """Write a multi-layer perceptron with biases and ReLUs."""
    nodes, weights, last = [], [], "x"
    for index, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        weights += [weight(f"w{index}", outputs, inputs), weight(f"b{index}", outputs)]
        nodes.append(helper.make_node("Gemm", [last, f"w{index}", f"b{index}"], [f"g{index}"], transB=1))
        nodes.append(helper.make_node("Relu", [f"g{index}"], [f"r{index}"]))
        last = f"r{index}"
    return save(path, nodes, [tensor("x", [batch, layers[0]])], [last], weights)
