"""A worker for tests, and the small models that they run on it."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.client import Client
from targets.client import receive as recv

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"
Array = npt.NDArray[Any]

__all__ = [
    "MODELS",
    "ROOT",
    "Array",
    "WorkerClient",
    "build_onnx",
    "build_quantised_onnx",
    "recv",
    "reference",
]


class WorkerClient(Client):
    """A worker with nothing but targets/ on its path, and whatever ``env`` puts there."""

    def __init__(
        self,
        *,
        interpreter: str = sys.executable,
        env: dict[str, str] | None = None,
        map_bytes: int = 1 << 22,
        timeout_s: float = 60.0,
    ) -> None:
        self._links = tempfile.TemporaryDirectory()
        (Path(self._links.name) / "targets").symlink_to(ROOT / "targets")
        extra = dict(env or {})
        path = os.pathsep.join([self._links.name, *filter(None, [extra.pop("PYTHONPATH", "")])])
        environment = {"PATH": os.defpath, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **extra}
        super().__init__([interpreter, "-m", "targets.worker"], environment, map_bytes, timeout_s)

    def stop(self) -> None:
        """End the process, whatever it does, and remove its files."""
        super().stop()
        self._links.cleanup()

    def load(self, path: str | Path, runtime: str, fmt: str, **fields: Any) -> dict[str, Any]:
        """Load a model with defaults for whatever is not given."""
        request = {"precision": None, "batch": None, "options": {}, **fields}
        return self.call("load", path=str(path), runtime=runtime, format=fmt, **request)


def build_onnx(path: Path, *, dtype: str = "float32", batch: int | str = "N", width: int = 4) -> Path:
    """Write a small ONNX model: y = relu(x @ w + b), x of [batch, 8], seeded weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    kind = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}[dtype]
    weights = numpy_helper.from_array(rng.standard_normal((8, width)).astype(dtype), "w")
    bias = numpy_helper.from_array(rng.standard_normal(width).astype(dtype), "b")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("x", kind, [batch, 8])],
        [helper.make_tensor_value_info("y", kind, [batch, width])], [weights, bias],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def reference(x: Array, width: int = 4) -> Array:
    """What build_onnx's model gives, in float64."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((8, width)).astype("float32").astype("float64")
    bias = rng.standard_normal(width).astype("float32").astype("float64")
    return np.asarray(np.maximum(x.astype("float64") @ weights + bias, 0.0))


def build_quantised_onnx(path: Path) -> Path:
    """Write build_onnx's model with its matrix product in 8 bits (QDQ form)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    weights = np.clip(np.round(rng.standard_normal((8, 4)) / 0.02), -127, 127).astype("int8")
    consts = [
        numpy_helper.from_array(weights, "wq"),
        numpy_helper.from_array(np.asarray(np.float32(0.02)), "ws"),
        numpy_helper.from_array(np.asarray(np.int8(0)), "wz"),
        numpy_helper.from_array(np.asarray(np.float32(0.03)), "xs"),
        numpy_helper.from_array(np.asarray(np.uint8(128)), "xz"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "small8", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])], consts,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
