"""If, Loop and Scan: their bodies become models of their own, counted like any other and taken as often as they run."""

import onnx
from onnx import numpy_helper

from hostctl.models.count.onnx_bind import set_shape
from hostctl.models.count.onnx_node import NodeView, Shape, ShapeUnknownError, key_of, label
from hostctl.models.count.onnx_prepare import Prepared, prepare
from hostctl.models.count.onnx_walk import captured, walk
from hostctl.models.count.result import Tally


class _BodyError(Exception):
    """A body that cannot be counted; the text is the reason."""


def add_control_flow(outer: Prepared, tally: Tally, node: onnx.NodeProto) -> None:
    """Add the cost of an If, Loop or Scan to the tally, or the reason why it has none."""
    try:
        if node.op_type == "If":
            _add_if(outer, tally, node)
        elif node.op_type == "Loop":
            _add_loop(outer, tally, node)
        else:
            _add_scan(outer, tally, node)
    except ShapeUnknownError as error:
        reason = f"the shape of its tensor '{error.tensor}' is not known before the run"
        tally.add_uncounted(label(node), node.op_type, reason, for_shape=True)
    except _BodyError as error:
        tally.add_uncounted(label(node), node.op_type, str(error))


def _add_if(outer: Prepared, tally: Tally, node: onnx.NodeProto) -> None:
    bodies = {attribute.name: attribute.g for attribute in node.attribute}
    condition = _constant(outer, node.input[0])
    if condition is not None:
        chosen = bodies["then_branch" if condition else "else_branch"]
        tally.merge(walk(_body(outer, chosen, {})))
        return
    then, other = (walk(_body(outer, bodies[name], {})) for name in ("then_branch", "else_branch"))
    if then.complete and other.complete and then.macs != other.macs:
        tally.params.update({**then.params, **other.params})
        raise _BodyError(
            f"its branches cost {then.macs} and {other.macs} MACs, and the data decide which of them runs"
        )
    tally.merge(then)
    tally.params.update(other.params)
    if not other.complete:
        tally.uncounted.extend(other.uncounted)


def _add_loop(outer: Prepared, tally: Tally, node: onnx.NodeProto) -> None:
    body = node.attribute[0].g if len(node.attribute) == 1 else _attribute(node, "body")
    carried = [outer.shapes.get(name) for name in node.input[2:]]
    formals: dict[str, Shape | None] = {body.input[0].name: (), body.input[1].name: ()}
    formals.update({value.name: shape for value, shape in zip(body.input[2:], carried, strict=True)})
    inner = _body(outer, body, formals)
    step = walk(inner)
    if step.complete and step.macs == 0:
        tally.params.update(step.params)
        return
    for value, shape in zip(inner.graph.output[1:], carried, strict=False):
        if shape is None or inner.shapes.get(value.name) != shape:
            raise _BodyError("a tensor may change its shape from one step to the next")
    tally.merge(step, _trips(outer, node, inner))


def _trips(outer: Prepared, node: onnx.NodeProto, inner: Prepared) -> int:
    """Return how often a Loop runs, where that does not depend on data."""
    start = _constant(outer, node.input[1]) if len(node.input) > 1 and node.input[1] else True
    if start is False:
        return 0
    if start is None or not _goes_on(inner):
        raise _BodyError("it stops on a condition in the data, so its number of steps is not known")
    count = _constant(outer, node.input[0]) if node.input[0] else None
    if count is None:
        raise _BodyError("its number of steps is not known before the run")
    return max(0, int(count))


def _goes_on(inner: Prepared) -> bool:
    """Whether a Loop body's condition is always true: a constant, or its own input handed on."""
    name = inner.graph.output[0].name
    made_by = {output: node for node in inner.graph.node for output in node.output}
    while name in made_by and key_of(made_by[name]) == ("", "Identity"):
        name = made_by[name].input[0]
    return name == inner.graph.input[1].name or _constant(inner, name) is True


def _add_scan(outer: Prepared, tally: Tally, node: onnx.NodeProto) -> None:
    view = NodeView(node, outer.shapes)
    body = _attribute(node, "body")
    scanned = int(view.attr("num_scan_inputs"))
    states = len(node.input) - scanned
    axes = list(view.attr("scan_input_axes", [])) or [0] * scanned
    steps: int | None = None
    formals: dict[str, Shape | None] = {}
    for index, value in enumerate(body.input):
        shape = view.inp(index)
        if index >= states:
            axis = axes[index - states] % len(shape)
            steps = shape[axis]
            shape = shape[:axis] + shape[axis + 1 :]
        formals[value.name] = shape
    if steps is None:
        raise _BodyError("it scans nothing, so its number of steps is not known")
    tally.merge(walk(_body(outer, body, formals)), steps)


def _body(outer: Prepared, body: onnx.GraphProto, formals: dict[str, Shape | None]) -> Prepared:
    """Make a nested graph a model of its own: what it captures becomes constants or inputs of known shape."""
    model = onnx.ModelProto()
    model.ir_version = max(outer.model.ir_version, 4)
    model.opset_import.extend(outer.model.opset_import)
    model.graph.CopyFrom(body)
    graph = model.graph
    graph.name = graph.name or "body"
    for value in graph.input:
        shape = formals.get(value.name)
        if shape is not None:
            set_shape(value, shape)
    weights: dict[str, onnx.TensorProto | None] = {}
    for name in captured(body):
        if name in outer.constants:
            tensor = graph.initializer.add()
            tensor.CopyFrom(outer.constants[name])
            tensor.name = name
        else:
            _capture(outer, graph, name)
            if name in outer.weights:
                weights[name] = outer.weights[name]
    for index, value in enumerate(graph.output):
        _give_type(graph, value, index)
    return prepare(model, weights)


def _capture(outer: Prepared, graph: onnx.GraphProto, name: str) -> None:
    if name not in outer.types:
        raise _BodyError(f"the type of '{name}', which its body reads, is not known")
    value = graph.input.add(name=name)
    value.type.tensor_type.elem_type = outer.types[name]
    if name in outer.shapes:
        set_shape(value, outer.shapes[name])


def _give_type(graph: onnx.GraphProto, value: onnx.ValueInfoProto, index: int) -> None:
    """An output handed straight through may lack a type of its own."""
    source = next((known for known in graph.input if known.name == value.name), None)
    if source is not None and not value.type.HasField("tensor_type"):
        value.type.CopyFrom(source.type)


def _attribute(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    return next(attribute.g for attribute in node.attribute if attribute.name == name)


def _constant(prepared: Prepared, name: str) -> bool | int | None:
    """Return the value of a scalar constant, or None."""
    tensor = prepared.constants.get(name)
    if tensor is None:
        return None
    value = numpy_helper.to_array(tensor)
    if value.size != 1:
        return None
    return bool(value.item()) if value.dtype == bool else int(value.item())
