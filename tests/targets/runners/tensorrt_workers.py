"""Workers over the fake TensorRT in its shapes, and the models that only TensorRT's tests need."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.targets.helpers import WorkerClient
from tests.targets.runners.cases import CASES, Case

OF = {case.label: case for case in CASES if case.runtime == "tensorrt"}
_SLOW = ("8.5", "10")  # between the oldest and the newest, which differ from each other in everything
each_shape = pytest.mark.parametrize(
    "label", [pytest.param(label, marks=[pytest.mark.slow] if label in _SLOW else []) for label in sorted(OF)]
)


def case_of(label: str, version: str | None = None, binding: str | None = None) -> Case:
    """Return the case of a shape, under another version of it or another binding of CUDA."""
    case = OF[label]
    settings = {**case.settings, **({} if version is None else {"tensorrt": version})}
    fakes = case.fakes if binding is None else (*case.fakes[:3], f"cuda/{binding}")
    return Case("tensorrt", case.label, case.make, fakes, settings, options=case.options, device=case.device)


def load(worker: WorkerClient, path: Path, fmt: str = "onnx", **fields: Any) -> dict[str, Any]:
    """Load without the cache unless ``options`` names one; return spec, describe and memory."""
    options = (
        {"engine_cache": "off", **fields.pop("options", {})} if fmt == "onnx" else fields.pop("options", {})
    )
    return worker.load(path, "tensorrt", fmt, options=options, **fields)


def described(worker: WorkerClient, path: Path, fmt: str = "onnx", **fields: Any) -> dict[str, Any]:
    """Load, unload and return what the load said of itself."""
    found: dict[str, Any] = load(worker, path, fmt, **fields)["describe"]
    worker.call("unload")
    return found


def refusal(worker: WorkerClient, path: Path, fmt: str = "onnx", **fields: Any) -> tuple[str, str]:
    """Return kind and sentence of a load that must fail."""
    options = (
        {"engine_cache": "off", **fields.pop("options", {})} if fmt == "onnx" else fields.pop("options", {})
    )
    request = {"precision": None, "batch": None, "options": options, **fields}
    error = worker.error("load", path=str(path), runtime="tensorrt", format=fmt, **request)
    assert "\n" not in error.message
    assert error.message.endswith(".")
    return error.kind, error.message


def symmetric_onnx(path: Path) -> Path:
    """Write y = quantised(x) @ quantised(w), both around zero, as TensorRT wants it."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.clip(np.round(np.random.default_rng(3).standard_normal((8, 4)) / 0.02), -127, 127)
    consts = [
        numpy_helper.from_array(weights.astype("int8"), "wq"),
        numpy_helper.from_array(np.asarray(np.float32(0.02)), "ws"),
        numpy_helper.from_array(np.asarray(np.int8(0)), "zero"),
        numpy_helper.from_array(np.asarray(np.float32(0.03)), "xs"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "zero"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
    ]
    return _write(
        path, nodes, [("x", TensorProto.FLOAT, ["N", 8])], ("y", TensorProto.FLOAT, ["N", 4]), consts
    )


def nonzero_onnx(path: Path) -> Path:
    """Write i = indices of what is not zero in relu(x): nobody knows their number before the run."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("NonZero", ["r"], ["i"])]
    return _write(path, nodes, [("x", TensorProto.FLOAT, [2, 3])], ("i", TensorProto.INT64, [2, "K"]), [])


def reshape_onnx(path: Path) -> Path:
    """Write y = relu(x) in the shape that the input s says."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Reshape", ["r", "s"], ["y"])]
    inputs = [("x", TensorProto.FLOAT, [6]), ("s", TensorProto.INT64, [2])]
    return _write(path, nodes, inputs, ("y", TensorProto.FLOAT, ["A", "B"]), [])


def open_onnx(path: Path) -> Path:
    """Write y = relu(x) of [batch, width], both open."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    shape = ["N", "W"]
    return _write(path, nodes, [("x", TensorProto.FLOAT, shape)], ("y", TensorProto.FLOAT, shape), [])


def _write(path: Path, nodes: list[Any], inputs: list[Any], output: Any, consts: list[Any]) -> Path:
    import onnx
    from onnx import helper

    graph = helper.make_graph(
        nodes, "made", [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*output)], consts,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
