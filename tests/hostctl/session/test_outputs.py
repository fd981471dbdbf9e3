"""Inputs from a seed, and the comparison with the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from farm.v1 import model_pb2, tensor_pb2

from hostctl.errors import UsageError
from hostctl.session import outputs
from hostctl.session.outputs import check, inputs_for, sendable


def loaded(*specs: tensor_pb2.TensorSpec, precision: str = "float32") -> model_pb2.LoadedModel:
    return model_pb2.LoadedModel(
        spec=model_pb2.ModelSpec(inputs=specs),
        execution=model_pb2.Execution(effective={"precision": precision}),
    )


def spec(name: str, dtype: str, *shape: int) -> tensor_pb2.TensorSpec:
    return tensor_pb2.TensorSpec(name=name, dtype=dtype, shape=shape)


def test_a_seed_gives_the_same_inputs_each_time() -> None:
    model = loaded(spec("x", "float32", -1, 3), spec("q", "int8", 2, 100), spec("i", "int64", 50))
    first, again, other = (inputs_for(model, seed, 4) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["x"], other["x"])
    assert first["x"].shape == (4, 3)
    assert first["x"].dtype == np.float32
    assert first["q"].min() < -100
    assert first["q"].max() > 100
    assert set(np.unique(first["i"])) == {0, 1}


def test_an_open_shape_says_which_option_binds_it() -> None:
    with pytest.raises(UsageError, match="--shape x="):
        inputs_for(loaded(spec("x", "float32", 1, 3, -1, -1)), 0, None)


def test_large_inputs_are_left_to_the_board() -> None:
    small = {"x": np.zeros(10, np.float32)}
    assert sendable(small) is small
    assert sendable({"x": np.zeros(9 << 20, np.float32)}) is None


@pytest.mark.parametrize(("dtype", "within"), [(np.float32, False), (np.uint8, True)])
def test_outputs_of_8_bits_may_differ_by_steps(
    dtype: type[np.generic], within: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = np.arange(1, 101).astype(dtype).reshape(1, 100)
    ours = (reference + 2).astype(dtype)
    monkeypatch.setattr(outputs, "reference_outputs", lambda *_: ("reference", {"y": reference}))
    found = check(Path("net.tflite"), "tflite", loaded(), {}, {"y": ours})
    assert found.within_tolerance is within


def test_without_a_reference_the_reason_is_told(tmp_path: Path) -> None:
    found = check(tmp_path / "net.zip", "openvino", loaded(), {}, {})
    assert found.within_tolerance is None
    assert found.reason is not None
    assert "openvino" in found.reason
