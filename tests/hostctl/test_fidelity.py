"""The comparison of outputs against closed forms, and the references it uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hostctl import fidelity
from hostctl.errors import MeasurementInvalid

finite = st.integers(-1000, 1000).map(float)
scores = hnp.arrays(np.float64, (3, 4), elements=finite)


@given(scores)
def test_equal_outputs_agree(values: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    found = fidelity.compare({"y": values}, {"y": values.copy()}, precision="float32", source="test")
    assert found.max_abs_error == 0.0
    assert found.top1_agreement == 1.0
    assert found.within_tolerance is (True if values.any() else None)


def test_a_known_difference() -> None:
    expected = np.array([[3.0, 4.0], [0.0, 5.0]])
    ours = np.array([[3.0, 4.5], [6.0, 5.0]])
    found = fidelity.compare({"y": ours}, {"y": expected}, precision="float32", source="test")
    assert found.max_abs_error == 6.0
    assert found.max_rel_error == pytest.approx(6.0 / 5.0)
    assert found.relative_rms == pytest.approx((36.25 / 50) ** 0.5)
    assert found.cosine == pytest.approx((9 + 18 + 25) / ((9 + 20.25 + 36 + 25) * 50) ** 0.5)
    assert found.top1_agreement == 0.5
    assert found.within_tolerance is False


def test_half_precision_rounding_is_within_its_own_tolerance_but_not_float32s() -> None:
    expected = np.linspace(-1, 1, 1000).reshape(1, -1)
    ours = expected + 0.025 * np.sin(np.arange(1000))
    half = fidelity.compare({"y": ours}, {"y": expected}, precision="float16", source="test")
    single = fidelity.compare({"y": ours}, {"y": expected}, precision="float32", source="test")
    assert (half.within_tolerance, single.within_tolerance) == (True, False)


def test_not_a_number_is_never_within_tolerance() -> None:
    found = fidelity.compare(
        {"y": np.array([[np.nan, 1.0]])}, {"y": np.array([[0.0, 1.0]])}, precision="int8", source="test"
    )
    assert not found.finite
    assert found.within_tolerance is False
    assert found.max_abs_error is None


def test_an_unknown_precision_has_no_verdict() -> None:
    values = np.ones((1, 2))
    assert (
        fidelity.compare({"y": values}, {"y": values}, precision="int4", source="t").within_tolerance is None
    )


@pytest.mark.parametrize(
    ("ours", "words"),
    [({"z": np.zeros((1, 2))}, "outputs"), ({"y": np.zeros((2, 2))}, "shape")],
)
def test_another_model_is_refused(ours: dict[str, object], words: str) -> None:
    with pytest.raises(MeasurementInvalid, match=words):
        fidelity.compare(ours, {"y": np.zeros((1, 2))}, precision="float32", source="test")  # type: ignore[arg-type]


def doubling_model(path: Path) -> Path:
    """Write y = x + x."""
    shape: list[str | int | None] = ["N", 3]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
        "doubling",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_the_onnx_reference_computes(tmp_path: Path) -> None:
    inputs = {"x": np.array([[1.0, 2.0, 3.0]], np.float32)}
    found = fidelity.reference_outputs(doubling_model(tmp_path / "m.onnx"), "onnx", inputs)
    assert not isinstance(found, str)
    source, outputs = found
    assert source.startswith("onnxruntime ")
    np.testing.assert_array_equal(outputs["y"], [[2.0, 4.0, 6.0]])


def test_a_broken_file_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    found = fidelity.reference_outputs(tmp_path / "m.onnx", "onnx", {})
    assert isinstance(found, str)
    assert "refused the model" in found


def test_a_format_without_reference_gives_a_reason() -> None:
    found = fidelity.reference_outputs(Path("m.hef"), "hef", {})
    assert isinstance(found, str)
    assert "hef" in found


def test_no_reference_is_not_a_failure() -> None:
    found = fidelity.unavailable("no runtime")
    assert found.within_tolerance is None
    assert found.as_json()["reason"] == "no runtime"
