"""Counting a TFLite file from its tables alone: no interpreter, so no delegate can hide a node."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hostctl.errors import UsageError
from hostctl.models.count.files import corrupt, sha256_of
from hostctl.models.count.onnx_node import RuleError
from hostctl.models.count.result import ModelCount, Tally, Uncounted
from hostctl.models.count.tflite_formulas import (
    BIAS_POSITIONS,
    FORMULAS,
    SEQUENCES,
    OperatorView,
    other_operations,
)
from hostctl.models.count.tflite_kinds import CONTROL_FLOW, KIND_OF, MOVES_DATA, NO_RULE
from hostctl.models.count.tflite_read import Operator, Subgraph, Tensor, read_tflite

_WEIGHT_TYPES: Final = frozenset(
    {"FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64", "INT8", "UINT8", "INT4", "INT16"}
)
_BIAS_TYPES: Final = frozenset({"INT32", "INT64"})
_RANDOM: Final = frozenset({"RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"})
_MAX_NESTING: Final = 32


def count_tflite(path: Path, shapes: Mapping[str, Sequence[int]], name: str) -> ModelCount:
    """Count one inference of a TFLite file; see `hostctl.models.count.count_operations`."""
    graphs = read_tflite(path)
    tally = Tally()
    try:
        _walk(graphs, 0, tally, depth=0)
    except RecursionError:
        raise corrupt(path, "its graphs call one another without end") from None
    tally.uncounted[:0] = _check_shapes(graphs[0], shapes)
    return tally.to_count(name, sha256_of(path), "tflite", _static_batch(graphs[0]))


def _walk(graphs: Sequence[Subgraph], index: int, tally: Tally, depth: int) -> None:
    if depth > _MAX_NESTING or not 0 <= index < len(graphs):
        raise RecursionError
    graph = graphs[index]
    live = _live(graph)
    constant = _constants(graph, live)
    for operator in live:
        if operator.outputs and all(output in constant for output in operator.outputs):
            continue
        _add_parameters(graph, index, operator, constant, tally)
        if operator.kind in CONTROL_FLOW:
            _add_control_flow(graphs, graph, operator, tally, depth)
        else:
            _add_operator(OperatorView(operator, graph), tally)


def _live(graph: Subgraph) -> list[Operator]:
    """Return the operators that an output or a stored state needs."""
    needed = set(graph.outputs)
    live = []
    for operator in reversed(graph.operators):
        if not operator.outputs or needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            live.append(operator)
    return live[::-1]


def _constants(graph: Subgraph, live: Sequence[Operator]) -> set[int]:
    """Return the tensors whose value is in the file or computed from it alone."""
    constant = {index for index, tensor in enumerate(graph.tensors) if tensor.buffer is not None}
    constant.add(-1)
    for operator in live:
        fixed = operator.kind in (MOVES_DATA | KIND_OF.keys() | FORMULAS.keys()) - _RANDOM
        stateless = operator.kind not in ("VAR_HANDLE", "READ_VARIABLE", "HASHTABLE", "CALL_ONCE")
        if fixed and stateless and operator.inputs and constant.issuperset(operator.inputs):
            constant.update(operator.outputs)
    return constant


def _add_operator(view: OperatorView, tally: Tally) -> None:
    kind = view.operator.kind
    if kind in MOVES_DATA:
        return
    try:
        if kind in FORMULAS:
            tally.macs += FORMULAS[kind](view)
        elif kind in KIND_OF:
            tally.add_other(KIND_OF[kind], other_operations(KIND_OF[kind], view))
        else:
            tally.add_uncounted(_label(view), kind.removeprefix("CUSTOM:"), _why_no_rule(kind))
            return
        if view.operator.options.get("FusedActivationFunction"):
            tally.add_other("activation", _elements_out(view))
    except (RuleError, IndexError) as error:
        reason = str(error) if isinstance(error, RuleError) else "its tensors have too few dimensions"
        tally.add_uncounted(_label(view), kind, reason, computes=kind in FORMULAS)


def _elements_out(view: OperatorView) -> int:
    elements = 1
    for size in view.out():
        elements *= size
    return elements


def _why_no_rule(kind: str) -> str:
    if kind.startswith("CUSTOM:"):
        return "a custom operator, which may compute anything"
    return NO_RULE.get(kind, "no counting rule for this operator")


def _label(view: OperatorView) -> str:
    return next((view.graph.tensors[index].name for index in view.operator.outputs), view.operator.kind)


def _add_control_flow(
    graphs: Sequence[Subgraph], graph: Subgraph, operator: Operator, tally: Tally, depth: int
) -> None:
    def body(option: str) -> Tally:
        inner = Tally()
        _walk(graphs, operator.options.get(option, -1), inner, depth + 1)
        return inner

    label = _label(OperatorView(operator, graph))
    if operator.kind == "IF":
        _add_if(body("ThenSubgraphIndex"), body("ElseSubgraphIndex"), label, tally)
    elif operator.kind == "WHILE":
        condition, step = body("CondSubgraphIndex"), body("BodySubgraphIndex")
        tally.params.update({**condition.params, **step.params})
        if condition.macs or step.macs or not (condition.complete and step.complete):
            tally.add_uncounted(label, "WHILE", "its number of steps is not known before the run")
    else:
        tally.merge(body("Subgraph" if operator.kind == "CALL" else "DecompositionSubgraphIndex"))


def _add_if(then: Tally, other: Tally, label: str, tally: Tally) -> None:
    if then.complete and other.complete and then.macs != other.macs:
        tally.params.update({**then.params, **other.params})
        reason = (
            f"its branches cost {then.macs} and {other.macs} MACs, and the data decide which of them runs"
        )
        tally.add_uncounted(label, "IF", reason)
        return
    tally.merge(then)
    tally.params.update(other.params)
    tally.uncounted.extend(other.uncounted)


def _add_parameters(
    graph: Subgraph, index: int, operator: Operator, constant: set[int], tally: Tally
) -> None:
    """Note each constant that a running operator reads as data, once: by its buffer, which tensors may share."""
    for position, tensor_index in enumerate(operator.inputs):
        if tensor_index < 0 or tensor_index not in constant:
            continue
        tensor = graph.tensors[tensor_index]
        bias = position in BIAS_POSITIONS.get(operator.kind, frozenset())
        if tensor.shape and (tensor.type_name in _WEIGHT_TYPES or (bias and tensor.type_name in _BIAS_TYPES)):
            key = f"tensor {index}/{tensor_index}" if tensor.buffer is None else f"buffer {tensor.buffer}"
            elements = 1
            for size in tensor.shape:
                elements *= size
            tally.params[key] = elements


def _static_batch(graph: Subgraph) -> int:
    """Return the leading size of all inputs and outputs, if they agree on one and no layer takes it for time."""
    inputs = [graph.tensors[index].shape for index in graph.inputs if len(graph.tensors[index].shape) >= 2]
    batch = inputs[0][0] if inputs else 1
    if batch <= 1 or any(shape[0] != batch for shape in inputs):
        return 1
    outputs = [graph.tensors[index].shape for index in graph.outputs if index >= 0]
    if any(shape and shape[0] % batch for shape in outputs):
        return 1
    for operator in graph.operators:
        if operator.kind in SEQUENCES and operator.options.get("TimeMajor"):
            shape = OperatorView(operator, graph).inp(0)
            if shape[0] == batch and shape[1] != batch:
                return 1
    return batch


def _check_shapes(graph: Subgraph, shapes: Mapping[str, Sequence[int]]) -> list[Uncounted]:
    """Hold the caller's shapes against the file: only the batch may differ, since a TFLite file stores all shapes."""
    inputs = {graph.tensors[index].name: graph.tensors[index] for index in graph.inputs if index >= 0}
    refused = []
    for name, shape in shapes.items():
        if name not in inputs:
            raise UsageError(
                f"The model has no input '{name}'; its inputs are {', '.join(inputs) or 'none'}."
            )
        tensor = inputs[name]
        if not _fits(tensor, shape):
            fixed = "x".join(str(size) if size >= 0 else "?" for size in tensor.dims)
            raise UsageError(
                f"Input '{name}' is fixed at {fixed} in the model; {','.join(map(str, shape))} does not fit it."
            )
        if tuple(shape[1:]) != tensor.shape[1:]:
            reason = (
                "a TFLite file is counted with the shapes it stores; convert it with this shape or give --ops"
            )
            refused.append(Uncounted(name, "Input", reason))
    return refused


def _fits(tensor: Tensor, shape: Sequence[int]) -> bool:
    return len(shape) == len(tensor.dims) and all(
        asked > 0 and (known < 0 or known == asked) for asked, known in zip(shape, tensor.dims, strict=True)
    )
