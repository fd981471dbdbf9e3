"""Walking a prepared graph: which nodes run, what each costs, which constants are parameters."""

from collections.abc import Iterator, Mapping
from typing import Final

import onnx

from hostctl.models.count.onnx_formulas import FORMULAS, RECURRENT, other_operations, sequence_length
from hostctl.models.count.onnx_kinds import CONTROL_FLOW, KIND_OF, MOVES_DATA, NO_RULE
from hostctl.models.count.onnx_node import NodeView, RuleError, ShapeUnknownError, elements, key_of, label
from hostctl.models.count.onnx_prepare import Prepared, run_once
from hostctl.models.count.onnx_read import subgraphs
from hostctl.models.count.result import Tally

_RANDOM: Final = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"})
_RANDOM_OR_SAMPLED: Final = _RANDOM | {"Bernoulli", "Multinomial"}

# Inputs that steer an operator and are not trained: scales, zero points, sizes. All other constants are parameters.
_CONTROL_INPUTS: Final[dict[str, frozenset[int]]] = {
    "QuantizeLinear": frozenset({1, 2}),
    "DequantizeLinear": frozenset({1, 2}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "ConvInteger": frozenset({2, 3}),
    "MatMulInteger": frozenset({2, 3}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QGemm": frozenset({1, 2, 4, 5, 7, 8}),
    "QAttention": frozenset({3, 4, 5, 6, 7}),
    "DynamicQuantizeMatMul": frozenset({2, 3}),
    "MatMulIntegerToFloat": frozenset({2, 3, 4, 5}),
    "DynamicQuantizeLSTM": frozenset({8, 9, 10, 11}),
    "QLinearAdd": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearSigmoid": frozenset({1, 2, 3, 4}),
    "QLinearLeakyRelu": frozenset({1, 2, 3, 4}),
    "QLinearSoftmax": frozenset({1, 2, 3, 4}),
    "QLinearGlobalAveragePool": frozenset({1, 2, 3, 4}),
    "QLinearAveragePool": frozenset({1, 2, 3, 4}),
    "Resize": frozenset({1, 2, 3}),
    "Upsample": frozenset({1}),
    "Clip": frozenset({1, 2}),
    "Pad": frozenset({1, 2, 3}),
    "Range": frozenset({0, 1, 2}),
    "NonMaxSuppression": frozenset({2, 3, 4}),
    "OneHot": frozenset({1, 2}),
    "Dropout": frozenset({1, 2}),
}
_VIEWS: Final = frozenset(
    {
        "Cast",
        "DequantizeLinear",
        "Flatten",
        "Identity",
        "QuantizeLinear",
        "Reshape",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
_NEVER_PARAMETERS: Final = frozenset(
    {onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED}
)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield every name a node needs: its inputs, and what its bodies take from outside."""
    yield from (name for name in node.input if name)
    for body in subgraphs(node):
        yield from captured(body)


def captured(body: onnx.GraphProto) -> list[str]:
    """Return the names that a nested graph takes from the graphs around it, in order of first use."""
    known = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    found: dict[str, None] = {}
    for node in body.node:
        found.update(dict.fromkeys(name for name in reads(node) if name not in known))
        known.update(node.output)
    found.update(dict.fromkeys(value.name for value in body.output if value.name not in known))
    return list(found)


def live_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that some output needs, in order."""
    needed = {value.name for value in graph.output}
    live = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(reads(node))
            live.append(node)
    return live[::-1]


def constant_names(prepared: Prepared, live: list[onnx.NodeProto]) -> set[str]:
    """Return the names whose value does not depend on the model's inputs: weights and what is computed from them."""
    constant = set(prepared.constants) | set(prepared.weights)
    constant.update(tensor.values.name for tensor in prepared.graph.sparse_initializer)
    for node in live:
        domain, operator = key_of(node)
        fixed = domain in ("", "com.microsoft") and operator not in _RANDOM_OR_SAMPLED
        if fixed and all(name in constant for name in reads(node)):
            constant.update(node.output)
    return constant


def walk(prepared: Prepared) -> Tally:
    """Count a prepared graph and everything nested in it."""
    live = live_nodes(prepared.graph)
    constant = constant_names(prepared, live)

    running = [node for node in live if not all(name in constant for name in node.output if name)]
    _learn_missing(prepared, running)
    tally = Tally()
    _add_parameters(prepared, tally, running, constant)
    for node in running:
        _add_node(prepared, tally, node)
    return tally


def _learn_missing(prepared: Prepared, running: list[onnx.NodeProto]) -> None:
    """Run the model once if a shape that a count needs is unknown."""
    wanted: dict[str, None] = {}
    for node in running:
        key = key_of(node)
        if key in FORMULAS or key in KIND_OF or key in CONTROL_FLOW:
            names = [*reads(node), *node.output]
            wanted.update(dict.fromkeys(name for name in names if name and name not in prepared.shapes))
    produced = {name for node in prepared.graph.node for name in node.output}
    asked = [name for name in wanted if name in produced]
    if asked and all(value.name in prepared.shapes for value in prepared.graph.input):
        run_once(prepared, asked)


def _add_node(prepared: Prepared, tally: Tally, node: onnx.NodeProto) -> None:
    key = key_of(node)
    if key in CONTROL_FLOW:
        from hostctl.models.count.onnx_control import add_control_flow

        add_control_flow(prepared, tally, node)
        return
    if key in MOVES_DATA:
        return
    view = NodeView(node, prepared.shapes)
    name = label(node)
    try:
        if key in FORMULAS:
            tally.macs += FORMULAS[key](view)
            if key in RECURRENT:
                tally.sequence_lengths.append(sequence_length(view))
        elif key in KIND_OF:
            tally.add_other(KIND_OF[key], other_operations(key, KIND_OF[key], view))
        else:
            tally.add_uncounted(name, _spelled(key), _why_no_rule(key))
    except ShapeUnknownError as error:
        reason = f"the shape of its tensor '{error.tensor}' is not known before the run"
        tally.add_uncounted(name, _spelled(key), reason, computes=key in FORMULAS, for_shape=True)
    except (RuleError, IndexError, ValueError, TypeError) as error:
        tally.add_uncounted(name, _spelled(key), f"its form is unusual ({error})", computes=key in FORMULAS)


def _spelled(key: tuple[str, str]) -> str:
    return f"{key[0]}.{key[1]}" if key[0] else key[1]


def _why_no_rule(key: tuple[str, str]) -> str:
    if key in NO_RULE:
        return NO_RULE[key]
    if key[0] in ("", "com.microsoft", "ai.onnx.ml"):
        return "no counting rule for this operator"
    return "a custom operator, which may compute anything"


def _add_parameters(
    prepared: Prepared, tally: Tally, running: list[onnx.NodeProto], constant: set[str]
) -> None:
    """Note each constant that a running node reads as data, once, with its number of elements.

    What is only a new view of a constant is the constant itself: tied weights and shared quantised ones exist once.
    """
    made_by = {output: node for node in prepared.graph.node for output in node.output}
    for node in running:
        steering = _CONTROL_INPUTS.get(node.op_type, frozenset())
        for index, read in enumerate(node.input):
            if read not in constant or index in steering:
                continue
            name = read
            while name in made_by and made_by[name].op_type in _VIEWS:
                name = made_by[name].input[0]
            if _is_parameter(name, prepared.shapes, prepared.types):
                tally.params[name] = elements(prepared.shapes[name])


def _is_parameter(name: str, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, int]) -> bool:
    """Trained constants have a rank; integers of 64 bits are indexes and sizes."""
    return bool(shapes.get(name)) and types.get(name, 0) not in _NEVER_PARAMETERS
