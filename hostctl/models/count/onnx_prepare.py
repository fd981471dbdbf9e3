"""From a bound model to one whose shapes are known: weights lifted out, folded through ONNX Runtime, shapes inferred.

Weights play no part in shapes, so large ones become inputs first: folding then neither copies nor merges them, and
weights in outside files need not be read. Folding removes shape arithmetic and `If`s with a constant condition,
which plain shape inference cannot see through.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

from hostctl.models.count.onnx_bind import set_shape, true_inputs
from hostctl.models.count.onnx_node import Shape, key_of
from hostctl.models.count.onnx_read import SMALL_ELEMENTS

_RUNTIME_IR_VERSION: Final = 10
"""ONNX Runtime trails the IR versions of onnx; what they add (devices, metadata) plays no part here."""

# These rewrites would change what is counted: they merge equal nodes, drop additions of zero, or fuse what is counted apart.
_KEPT_APART: Final = [
    "ClipQuantRewrite",
    "ReluQuantRewrite",
    "NoopElimination",
    "CommonSubexpressionElimination",
    "ConstantSharing",
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "MatMulAddFusion",
    "MatmulBNFusion",
    "DivMulFusion",
    "EnsureUniqueDQForNodeUnit",
    "FuseReluClip",
    "GemmSumFusion",
    "NotWhereFusion",
    "PadFusion",
    "QDQPropagationTransformer",
    "WeightBiasQuantization",
]


@dataclass
class Prepared:
    """A model ready to be walked. `weights` names the inputs that stand for large constants."""

    model: onnx.ModelProto
    weights: Mapping[str, onnx.TensorProto | None]
    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)

    @property
    def graph(self) -> onnx.GraphProto:
        """The main graph."""
        return self.model.graph

    @cached_property
    def constants(self) -> dict[str, onnx.TensorProto]:
        """Small constants by name: initialisers and Constant nodes."""
        found = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            if key_of(node) == ("", "Constant"):
                tensor = _constant_of(node)
                if tensor is not None:
                    found[node.output[0]] = tensor
        return found

    def learn_shapes(self) -> None:
        """Collect every fully known shape and every element type that the model declares."""
        graph = self.graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.HasField("tensor_type"):
                self._learn(value)
        for name, tensor in self.constants.items():
            self.shapes[name] = tuple(tensor.dims)
            self.types[name] = tensor.data_type
        for sparse in graph.sparse_initializer:
            self.shapes[sparse.values.name] = tuple(sparse.dims)
            self.types[sparse.values.name] = sparse.values.data_type

    def _learn(self, value: onnx.ValueInfoProto) -> None:
        tensor = value.type.tensor_type
        if tensor.elem_type:
            self.types[value.name] = tensor.elem_type
        dims = tensor.shape.dim
        if tensor.HasField("shape") and all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
            self.shapes.setdefault(value.name, tuple(dim.dim_value for dim in dims))


def prepare(model: onnx.ModelProto, weights: Mapping[str, onnx.TensorProto | None]) -> Prepared:
    """Lift weights, fold, infer shapes. `weights` names inputs that already stand for constants."""
    lifted = dict(weights)
    lifted.update(_lift_weights(model))
    folded = fold(model)
    prepared = Prepared(_inferred(folded if folded is not None else model), lifted)
    prepared.learn_shapes()
    return prepared


def fold(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return the model as ONNX Runtime's basic optimisations leave it, or None where it refuses the model."""
    import onnxruntime

    options = _quiet_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="wattfarm-count-") as directory:
        target = Path(directory) / "folded.onnx"
        options.optimized_model_filepath = str(target)
        try:
            _session(model, options, disabled_optimizers=_KEPT_APART)
            return onnx.load(target)
        except Exception:  # ONNX Runtime raises a class per status; any refusal means: count without folding.
            return None


def run_once(prepared: Prepared, wanted: list[str]) -> None:
    """Learn the real shapes of `wanted` tensors by running the model, where inference could not tell them.

    The model runs on zeros, then on other values: a shape that differs depends on the data and stays unknown.
    """
    model = onnx.ModelProto()
    model.CopyFrom(prepared.model)
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    first = _shapes_of_run(model, prepared, wanted, fill=0)
    second = _shapes_of_run(model, prepared, wanted, fill=1)
    for name, shape in first.items():
        if second.get(name, shape) == shape:
            prepared.shapes[name] = shape


def runs(prepared: Prepared) -> bool:
    """Whether the model runs at all with the shapes it is bound to."""
    names = [value.name for value in prepared.graph.output]
    return bool(_shapes_of_run(prepared.model, prepared, names, fill=0))


def _shapes_of_run(
    model: onnx.ModelProto, prepared: Prepared, wanted: list[str], fill: int
) -> dict[str, Shape]:
    import onnxruntime

    options = _quiet_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = _session(model, options)
        values = session.run(wanted, _feeds(prepared, fill))
    except Exception:  # As above: what cannot run has no shapes to learn.
        return {}
    return {
        name: tuple(value.shape)
        for name, value in zip(wanted, values, strict=True)
        if hasattr(value, "shape")
    }


def _feeds(prepared: Prepared, fill: int) -> dict[str, Any]:
    feeds: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for value in true_inputs(prepared.graph):
        name = value.name
        dtype = onnx.helper.tensor_dtype_to_np_dtype(prepared.types[name])
        weight = prepared.weights.get(name)
        if weight is not None and weight.data_location != onnx.TensorProto.EXTERNAL:
            feeds[name] = numpy_helper.to_array(weight)
        elif fill and np.issubdtype(dtype, np.floating):
            feeds[name] = rng.standard_normal(prepared.shapes[name]).astype(dtype)
        else:
            feeds[name] = np.full(prepared.shapes[name], fill, dtype)
    return feeds


def _session(model: onnx.ModelProto, options: Any, **more: Any) -> Any:
    """Open a session on the CPU; without the fallback that would print its troubles on our output."""
    import onnxruntime

    kept = model.ir_version
    model.ir_version = min(kept, _RUNTIME_IR_VERSION)
    try:
        content = model.SerializeToString()
    finally:
        model.ir_version = kept
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], enable_fallback=0, **more
    )


def _quiet_options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # Inference is best effort: what it leaves unknown is learnt by running, or reported.
        return model


def _lift_weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto | None]:
    """Turn large initialisers, Constant nodes and generated constants of the main graph into inputs."""
    graph = model.graph
    lifted: dict[str, onnx.TensorProto | None] = {}
    stay: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        if prod(tensor.dims) > SMALL_ELEMENTS or tensor.data_location == onnx.TensorProto.EXTERNAL:
            _declare(graph, tensor.name, tensor.data_type, tuple(tensor.dims))
            lifted[tensor.name] = tensor
        else:
            stay.append(tensor)
    small = {tensor.name: tensor for tensor in stay}
    nodes = [node for node in graph.node if not _lift_node(graph, node, small, lifted)]
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in stay]
    weights = {
        name: None if tensor is None else onnx.TensorProto.FromString(tensor.SerializeToString())
        for name, tensor in lifted.items()
    }
    del graph.initializer[:]
    graph.initializer.extend(kept)
    if len(nodes) < len(graph.node):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return weights


def _lift_node(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    small: Mapping[str, onnx.TensorProto],
    lifted: dict[str, onnx.TensorProto | None],
) -> bool:
    """Lift one Constant or ConstantOfShape node if it makes a weight; say whether it did."""
    if key_of(node) == ("", "Constant"):
        tensor = _constant_of(node)
        if tensor is None or prod(tensor.dims) <= SMALL_ELEMENTS:
            return False
        _declare(graph, node.output[0], tensor.data_type, tuple(tensor.dims))
        lifted[node.output[0]] = tensor
        return True
    if key_of(node) != ("", "ConstantOfShape") or node.input[0] not in small:
        return False
    value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
    shape = tuple(int(size) for size in numpy_helper.to_array(small[node.input[0]]))
    if prod(shape) <= SMALL_ELEMENTS:
        return False
    _declare(graph, node.output[0], onnx.TensorProto.FLOAT if value is None else value.data_type, shape)
    lifted[node.output[0]] = None
    return True


def _declare(graph: onnx.GraphProto, name: str, data_type: int, shape: Shape) -> None:
    value = next((value for value in graph.input if value.name == name), None)
    if value is None:
        value = graph.input.add(name=name)
    value.type.tensor_type.elem_type = data_type
    set_shape(value, shape)


def _constant_of(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """Return the tensor of a Constant node, whichever attribute holds it; None for strings and sparse ones."""
    for attribute in node.attribute:
        if attribute.name == "value":
            return attribute.t
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.name in ("value_float", "value_floats"):
            return numpy_helper.from_array(np.array(value, np.float32))
        if attribute.name in ("value_int", "value_ints"):
            return numpy_helper.from_array(np.array(value, np.int64))
    return None
