"""Batches and shapes: one sample counts, open sizes give null, the rest is worked out."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from hostctl.errors import UsageError
from hostctl.models.count import count_operations
from tests.hostctl.models.onnx_build import const, macs_of, mlp, one, save, tensor, weight


@pytest.mark.parametrize("batch", ["N", None, -1, 1, 8])
def test_one_sample_counts_whatever_the_batch_is_called(tmp_path: Path, batch: int | str | None) -> None:
    count = count_operations(mlp(tmp_path / "m.onnx", batch))
    assert count.ops_per_inference.value == 2 * 25_408
    assert isinstance(count.ops_per_inference.value, int)
    assert count.params == 25_450
    assert count.other_ops == {"activation": 42}


def test_a_bound_batch_is_divided_out(tmp_path: Path) -> None:
    assert macs_of(mlp(tmp_path / "m.onnx", "N"), {"x": [16, 784]}) == 25_408


def test_a_batch_written_into_a_reshape_is_divided_out(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Reshape", ["c", "flat"], ["f"]),
        node("MatMul", ["f", "d"], ["y"]),
    ]
    weights = [weight("w", 4, 3, 3, 3), const("flat", [8, 144], np.int64), weight("d", 144, 10)]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", [8, 3, 8, 8])], ["y"], weights)
    assert macs_of(path) == 4 * 36 * 27 + 1440


def test_the_rows_of_self_attention_are_no_batch(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    assert macs_of(save(tmp_path / "m.onnx", nodes, [tensor("x", [16, 8])], ["y"])) == 16 * 16 * 8


def test_a_recurrent_state_may_hold_the_batch_further_in(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("GRU", ["t", "w", "r", "", "", "h"], ["", "y"], hidden_size=8),
    ]
    inputs = [tensor("x", [6, 5, 4]), tensor("h", [1, 6, 8])]
    path = save(tmp_path / "m.onnx", nodes, inputs, ["y"], [weight("w", 1, 24, 4), weight("r", 1, 24, 8)])
    assert macs_of(path) == 5 * 24 * 12


def test_open_dimensions_give_null_and_tell_how_to_bind_them(tmp_path: Path) -> None:
    path = one(tmp_path / "m.onnx", "Conv", {"image": ["N", 3, "height", None]}, [weight("w", 8, 3, 3, 3)])
    count = count_operations(path)
    assert count.ops_per_inference.value is None
    assert count.params == 216
    assert "--shape image=1,3,<height>,<size>" in count.uncounted[0].reason
    assert macs_of(path, {"image": [1, 3, 10, 12]}) == 8 * 8 * 10 * 27
    assert macs_of(path, {"image": [4, 3, 10, 12]}) == 8 * 8 * 10 * 27


def test_shape_arithmetic_is_folded_away(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["sh"]),
        node("Gather", ["sh", "zero"], ["n"], axis=0),
        node("Concat", ["n", "minus"], ["flat"], axis=0),
        node("Reshape", ["x", "flat"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [const("zero", [0], np.int64), const("minus", [-1], np.int64), weight("w", 48, 10)]
    assert macs_of(save(tmp_path / "m.onnx", nodes, [tensor("x", ["N", 3, 4, 4])], ["y"], weights)) == 480


def test_a_shape_that_only_a_run_can_tell(tmp_path: Path) -> None:
    """The target of the Reshape is computed with floats, which shape inference does not follow."""
    node = helper.make_node
    nodes = [
        node("Mul", ["k", "two"], ["k2"]),
        node("Mul", ["flag", "k2"], ["scaled"]),
        node("Sub", ["scaled", "scaled"], ["nought"]),
        node("Add", ["nought", "k2"], ["target"]),
        node("Cast", ["target"], ["shape"], to=TensorProto.INT64),
        node("Reshape", ["x", "shape"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [const("k", [1, 12], np.float32), const("two", [2, 2], np.float32), weight("w", 24, 10)]
    inputs = [tensor("x", ["N", 4, 12]), tensor("flag", [1])]
    assert macs_of(save(tmp_path / "m.onnx", nodes, inputs, ["y"], weights)) == 480


def test_a_shape_that_depends_on_the_data_gives_null(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("NonZero", ["x"], ["found"]),
        node("Cast", ["found"], ["f"], to=TensorProto.FLOAT),
        node("Transpose", ["f"], ["rows"]),
        node("MatMul", ["rows", "w"], ["y"], name="product"),
    ]
    count = count_operations(
        save(tmp_path / "m.onnx", nodes, [tensor("x", [1, 16])], ["y"], [weight("w", 2, 8)])
    )
    assert count.ops_per_inference.value is None
    assert count.uncounted[0].node == "product"
    assert "not known before the run" in count.uncounted[0].reason


def test_a_batch_written_into_a_first_state_is_divided_out(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("GRU", ["t", "w", "r", "", "", "h"], ["", "y"], hidden_size=8),
    ]
    weights = [weight("w", 1, 24, 4), weight("r", 1, 24, 8), weight("h", 1, 6, 8)]
    assert macs_of(save(tmp_path / "m.onnx", nodes, [tensor("x", [6, 5, 4])], ["y"], weights)) == 5 * 24 * 12


def test_two_nameless_dimensions_may_differ(tmp_path: Path) -> None:
    path = one(tmp_path / "m.onnx", "Conv", {"x": ["?", 3, "?", "?"]}, [weight("w", 8, 3, 3, 3)])
    assert macs_of(path, {"x": [2, 3, 10, 12]}) == 8 * 8 * 10 * 27
    assert "--shape x=1,3,<size>,<size>" in count_operations(path).uncounted[0].reason


def test_a_symbol_bound_in_one_input_holds_for_all(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [tensor("a", ["N", "S", 4]), tensor("b", ["N", 4, "S"])], ["y"])
    assert macs_of(path, {"a": [1, 9, 4]}) == 9 * 9 * 4
    with pytest.raises(UsageError, match="both 9 and 8"):
        count_operations(path, {"a": [1, 9, 4], "b": [1, 4, 8]})


def test_a_first_dimension_that_may_be_a_sequence_stays_open(tmp_path: Path) -> None:
    """S leads the positions but stands behind the batch in the tokens: 1 would be a silent wrong guess."""
    nodes = [
        helper.make_node("Unsqueeze", ["positions", "last"], ["p"]),
        helper.make_node("MatMul", ["tokens", "p"], ["y"]),
    ]
    inputs = [tensor("positions", ["S"]), tensor("tokens", ["N", "S"])]
    path = save(tmp_path / "m.onnx", nodes, inputs, ["y"], [const("last", [1], np.int64)])
    assert count_operations(path).ops_per_inference.value is None
    assert macs_of(path, {"positions": [12]}) == 12
