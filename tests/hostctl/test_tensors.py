"""Arrays on their way to a board: what is written by hand is what protobuf reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from farm.v1 import device_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hostctl.errors import UsageError
from hostctl.tensors import infer_message, to_arrays, to_tensors

ARRAYS = st.sampled_from(["float16", "<f4", ">f4", "float64", "int8", "uint8", ">i8", "bool"]).flatmap(
    lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(min_dims=0, min_side=0, max_side=12))
)


@given(st.text(max_size=8), st.dictionaries(st.text(max_size=200), ARRAYS, max_size=3))
def test_a_request_is_what_protobuf_would_have_made(
    model_id: str, inputs: dict[str, npt.NDArray[Any]]
) -> None:
    found = pb.InferRequest.FromString(infer_message(model_id, inputs))
    assert found == pb.InferRequest(model_id=model_id, inputs=to_tensors(inputs))
    for name, array in to_arrays(found.inputs).items():
        np.testing.assert_array_equal(array, inputs[name])


def test_large_and_strided_arrays() -> None:
    inputs = {"x": np.arange(3 * 70_000, dtype=np.float32).reshape(3, -1)[:, ::2]}
    found = pb.InferRequest.FromString(infer_message("m", inputs))
    np.testing.assert_array_equal(to_arrays(found.inputs)["x"], inputs["x"])


def test_a_dtype_that_no_board_takes() -> None:
    with pytest.raises(UsageError, match="complex64"):
        infer_message("m", {"x": np.zeros(2, np.complex64)})
