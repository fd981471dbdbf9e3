"""Tensors: checks before the native call, views, seeded inputs."""

import numpy as np
import pytest

from targets.errors import InputInvalid, ModelInvalid, OptionInvalid
from targets.tensors import TensorSpec, all_finite, check_inputs, random_inputs, unique_names, view
from targets.wire import layout
from tests.targets.helpers import Array

X = TensorSpec("image", "float32", (-1, 3))


@pytest.mark.parametrize(
    ("inputs", "field", "message"),
    [
        ({"imag": np.zeros((1, 3), "float32")}, "name", "did you mean 'image'"),
        ({}, "name", "'image' is missing"),
        ({"image": np.zeros((1, 3), "float64")}, "dtype", "is float64, but the model takes float32"),
        ({"image": np.zeros((1, 4), "float32")}, "shape", r"takes \[-1, 3\] \(-1 = any\)"),
        ({"image": np.zeros(3, "float32")}, "shape", "has the shape"),
        ({"image": np.zeros((0, 3), "float32")}, "shape", "is empty"),
        ({"image": np.zeros((3, 2), "float32").T}, "data", "not in C order"),
    ],
)
def test_wrong_inputs(inputs: dict[str, Array], field: str, message: str) -> None:
    check_inputs([X], {"image": np.zeros((5, 3), "float32")})
    with pytest.raises(InputInvalid, match=message) as caught:
        check_inputs([X], inputs)
    assert caught.value.details["field"] == field


def test_unknown_element_types_are_refused() -> None:
    with pytest.raises(ModelInvalid, match="bfloat16"):
        TensorSpec("x", "bfloat16", (1,))


def test_view_is_no_copy() -> None:
    buffer = bytearray(256)
    (ref,), _ = layout([("x", "int16", [2, 3])], 64)
    view(buffer, ref)[...] = np.arange(6).reshape(2, 3)
    assert np.frombuffer(buffer, "<i2", 6, 64).tolist() == [0, 1, 2, 3, 4, 5]


def test_random_inputs_are_frozen() -> None:
    """The stream must never change: stored results name only the seed."""
    specs = [
        TensorSpec("f", "float32", (-1, 3)), TensorSpec("i", "int8", (2,)), TensorSpec("u", "uint8", (2,)),
        TensorSpec("n", "int64", (4,)), TensorSpec("b", "bool", (4,)),
    ]  # fmt: skip
    drawn = random_inputs(specs, 42)
    assert [array.dtype.name for array in drawn.values()] == ["float32", "int8", "uint8", "int64", "bool"]
    assert drawn["f"].shape == (1, 3)
    np.testing.assert_allclose(drawn["f"][0], [0.49671414, -0.1382643, 0.64768857], rtol=1e-6)
    assert set(drawn["n"].tolist()) <= {0, 1}
    again = random_inputs(specs, 42)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)
    assert not np.array_equal(drawn["f"], random_inputs(specs, 43)["f"])


def test_random_int8_takes_its_full_range() -> None:
    drawn = random_inputs([TensorSpec("i", "int8", (10000,)), TensorSpec("u", "uint8", (10000,))], 0)
    assert (drawn["i"].min(), drawn["i"].max()) == (-128, 127)
    assert (drawn["u"].min(), drawn["u"].max()) == (0, 255)


def test_a_dynamic_inner_dimension_must_be_said() -> None:
    with pytest.raises(OptionInvalid, match=r"shape\.x="):
        random_inputs([TensorSpec("x", "float32", (1, -1))], 0)


def test_finite() -> None:
    good, bad = np.ones(3, "float32"), np.array([1, np.inf], "float16")
    assert all_finite({"a": good}) is True
    assert all_finite({"a": good, "b": bad}) is False
    assert all_finite({"a": np.array([np.nan], "float32")}) is False
    assert all_finite({"a": np.ones(3, "int8")}) is None


def test_unique_names() -> None:
    assert unique_names(["a", "a", "", "b", "a"]) == ["a", "a:1", "tensor", "b", "a:2"]
