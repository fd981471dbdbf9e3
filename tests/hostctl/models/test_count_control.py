"""Counts through If, Loop and Scan: what is known before the run counts, what the data decide gives null."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hostctl.models.count import ModelCount, count_operations
from tests.hostctl.models.onnx_build import const, save, tensor, weight

X = tensor("x", ["N", 16])
FLAG = tensor("flag", [], TensorProto.BOOL)
SQUARE = weight("w", 16, 16)


def branch(name: str, products: int, operator: str = "MatMul") -> onnx.GraphProto:
    """A body that multiplies the captured x by the captured weights a number of times."""
    nodes, last = [], "x"
    for index in range(products):
        nodes.append(helper.make_node(operator, [last, "w"], [f"{name}{index}"]))
        last = f"{name}{index}"
    nodes.append(helper.make_node("Relu", [last], [f"{name}_out"]))
    return helper.make_graph(nodes, name, [], [tensor(f"{name}_out", None)])


def choice(path: Path, then: int, other: int, condition: bool | None = None) -> ModelCount:
    node = helper.make_node(
        "If", ["flag"], ["y"], then_branch=branch("a", then), else_branch=branch("b", other)
    )
    node.name = "choice"
    weights = [SQUARE] if condition is None else [SQUARE, const("flag", condition, np.bool_)]
    inputs = [X, FLAG] if condition is None else [X]
    return count_operations(save(path, [node], inputs, ["y"], weights))


def test_branches_of_equal_cost_count(tmp_path: Path) -> None:
    count = choice(tmp_path / "m.onnx", 2, 2)
    assert count.macs == 2 * 256
    assert count.params == 256
    assert count.other_ops == {"activation": 16}


def test_branches_that_cost_differently_give_null(tmp_path: Path) -> None:
    count = choice(tmp_path / "m.onnx", 1, 2)
    assert count.ops_per_inference.value is None
    assert count.uncounted[0].node == "choice"
    assert "256 and 512 MACs" in count.uncounted[0].reason


@pytest.mark.parametrize(("condition", "expected"), [(True, 256), (False, 512)])
def test_a_constant_condition_chooses(tmp_path: Path, condition: bool, expected: int) -> None:
    assert choice(tmp_path / "m.onnx", 1, 2, condition).macs == expected


def test_a_condition_computed_from_shapes_chooses(tmp_path: Path) -> None:
    """As in exported voice-activity nets: the branch hangs on the length of the input."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Equal", ["length", "sixteen"], ["flag"]),
        helper.make_node("If", ["flag"], ["y"], then_branch=branch("a", 1), else_branch=branch("b", 2)),
    ]
    weights = [SQUARE, const("one", 1, np.int64), const("sixteen", 16, np.int64)]
    assert count_operations(save(tmp_path / "m.onnx", nodes, [X], ["y"], weights)).macs == 256


def test_a_custom_operator_in_a_branch_gives_null(tmp_path: Path) -> None:
    odd = branch("b", 1)
    odd.node[0].domain = "acme"
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch("a", 1), else_branch=odd)
    count = count_operations(
        save(tmp_path / "m.onnx", [node], [X, FLAG], ["y"], [SQUARE], domains={"acme": 1})
    )
    assert count.ops_per_inference.value is None
    assert count.uncounted[0].operator == "acme.MatMul"


def loop(path: Path, trips: int | None, *, stops: bool = False, grows: bool = False) -> ModelCount:
    """A loop that multiplies its state by the weights; `trips` None is an input of the model."""
    body_nodes = [
        helper.make_node("MatMul", ["state", "w"], ["product"]),
        helper.make_node("Concat", ["product", "product"], ["next"], axis=0)
        if grows
        else helper.make_node("Identity", ["product"], ["next"]),
        helper.make_node("Not" if stops else "Identity", ["go"], ["on"]),
    ]
    body = helper.make_graph(
        body_nodes,
        "body",
        [tensor("i", [], TensorProto.INT64), tensor("go", [], TensorProto.BOOL), tensor("state", None)],
        [tensor("on", [], TensorProto.BOOL), tensor("next", None)],
    )
    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)
    weights, inputs = [SQUARE], [X]
    if trips is None:
        inputs.append(tensor("trips", [], TensorProto.INT64))
    else:
        weights.append(const("trips", trips, np.int64))
    return count_operations(save(path, [node], inputs, ["y"], weights))


def test_a_loop_of_known_length_counts_every_step(tmp_path: Path) -> None:
    count = loop(tmp_path / "m.onnx", 7)
    assert count.macs == 7 * 256
    assert count.params == 256


@pytest.mark.parametrize(
    ("trips", "stops", "grows", "reason"),
    [
        (None, False, False, "number of steps"),
        (7, True, False, "stops on a condition"),
        (7, False, True, "shape"),
    ],
)
def test_a_loop_of_unknown_length_gives_null(
    tmp_path: Path, trips: int | None, stops: bool, grows: bool, reason: str
) -> None:
    count = loop(tmp_path / "m.onnx", trips, stops=stops, grows=grows)
    assert count.ops_per_inference.value is None
    assert reason in count.uncounted[0].reason


def test_a_scan_counts_every_step(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["row", "w"], ["product"]),
            helper.make_node("Add", ["state", "product"], ["next"]),
            helper.make_node("Identity", ["next"], ["seen"]),
        ],
        "body",
        [tensor("state", None), tensor("row", None)],
        [tensor("next", None), tensor("seen", None)],
    )
    node = helper.make_node(
        "Scan", ["start", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_axes=[1]
    )
    inputs = [tensor("start", ["N", 16]), tensor("x", ["N", 9, 16])]
    path = save(tmp_path / "m.onnx", [node], inputs, ["y"], [SQUARE])
    assert count_operations(path).macs == 9 * 256
