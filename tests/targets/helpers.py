"""Drives a real worker process over the wire, as the daemon does."""

import mmap
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.errors import TargetsError, WireClosed, error_from_json
from targets.wire import Decoder, layout, send

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"
Array = npt.NDArray[Any]


def recv(sock: socket.socket) -> dict[str, Any]:
    """Receive exactly one object, and leave what follows it."""
    prefix = sock.recv(4, socket.MSG_WAITALL)
    if len(prefix) < 4:
        raise WireClosed("The other end closed the wire.")
    body = sock.recv(int.from_bytes(prefix, "big"), socket.MSG_WAITALL)
    (found,) = Decoder().feed(prefix + body)
    return found


class WorkerClient:
    """One worker process. Errors come back as the exceptions of targets.errors."""

    def __init__(
        self,
        *,
        interpreter: str = sys.executable,
        env: dict[str, str] | None = None,
        map_bytes: int = 1 << 22,
        timeout_s: float = 60.0,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "path"
        path.mkdir()
        (path / "targets").symlink_to(ROOT / "targets")
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout_s)
        self.sock = ours
        self.stderr_path = Path(self.folder.name) / "stderr"
        self.stdout_path = Path(self.folder.name) / "stdout"
        extra = dict(env or {})
        python_path = os.pathsep.join([str(path), *filter(None, [extra.pop("PYTHONPATH", "")])])
        with self.stdout_path.open("wb") as out, self.stderr_path.open("wb") as err:
            self.process = subprocess.Popen(
                [interpreter, "-m", "targets.worker", "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={"PATH": os.defpath, "PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1", **extra},
            )  # fmt: skip
        theirs.close()
        self.events: list[dict[str, Any]] = []
        self._replies: dict[int, dict[str, Any]] = {}
        self._id = 0
        self._tensors = Path(self.folder.name) / "tensors"
        self._map: mmap.mmap | None = None
        self._map_bytes = map_bytes

    def __enter__(self) -> "WorkerClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, whatever it does, and remove its files."""
        self.sock.close()
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def start(self, op: str, **fields: Any) -> int:
        """Send a request and return its number."""
        self._id += 1
        send(self.sock, {"id": self._id, "op": op, **fields})
        return self._id

    def finish(self, number: int) -> dict[str, Any]:
        """Read until the reply of a request; events and replies to others are kept.

        A cancelled request may be answered before the ``cancel`` is: two threads of the worker write.
        """
        while number not in self._replies:
            message = recv(self.sock)
            if "event" in message:
                self.events.append(message)
            else:
                self._replies[message["id"]] = message
        message = self._replies.pop(number)
        if not message["ok"]:
            raise error_from_json(message["error"])
        return message

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its reply."""
        return self.finish(self.start(op, **fields))

    def load(self, path: str | Path, runtime: str, fmt: str, **fields: Any) -> dict[str, Any]:
        """Load a model with defaults for whatever is not given."""
        request = {"precision": None, "batch": None, "options": {}, **fields}
        return self.call("load", path=str(path), runtime=runtime, format=fmt, **request)

    def place(self, inputs: dict[str, Array]) -> list[dict[str, Any]]:
        """Write tensors into the mapped file and return their references."""
        if self._map is None:
            with self._tensors.open("wb") as file:
                file.truncate(self._map_bytes)
            with self._tensors.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), self._map_bytes)
            self.call("map", path=str(self._tensors), size_bytes=self._map_bytes)
        refs, _ = layout([(name, array.dtype.name, array.shape) for name, array in inputs.items()])
        for ref in refs:
            self._map[ref["offset"] : ref["offset"] + ref["nbytes"]] = inputs[ref["name"]].tobytes()
        return refs

    def infer(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Run one inference through the mapped file."""
        refs = self.place(inputs)
        end = max((ref["offset"] + ref["nbytes"] for ref in refs), default=0)
        reply = self.call("infer", inputs=refs, output_offset=-(-end // 64) * 64)
        assert reply["end_ns"] >= reply["start_ns"]
        return {ref["name"]: self.read(ref) for ref in reply["outputs"]}

    def read(self, ref: dict[str, Any]) -> Array:
        """Return a tensor from the mapped file."""
        assert self._map is not None
        data = self._map[ref["offset"] : ref["offset"] + ref["nbytes"]]
        return np.frombuffer(data, dtype=ref["dtype"]).reshape(ref["shape"])

    def benchmark(self, **fields: Any) -> tuple[dict[str, Any], Array, Array]:
        """Run a short benchmark; return the reply, the starts and the ends."""
        number = self.start_benchmark(**fields)
        reply = self.finish(number)
        return reply, *self.times()

    def start_benchmark(self, **fields: Any) -> int:
        """Send a benchmark request with defaults for whatever is not given."""
        request = {
            "scenario": "latency", "in_flight": None, "duration_ns": 50_000_000, "min_count": 1, "warmup_ns": 0,
            "warmup_count": 0, "inputs": None, "seed": 7, "times_path": str(Path(self.folder.name) / "times"), **fields,
        }  # fmt: skip
        return self.start("benchmark", **request)

    def times(self) -> tuple[Array, Array]:
        """Return the starts and ends that the last benchmark wrote."""
        times = np.fromfile(Path(self.folder.name) / "times", dtype="<i8")
        return times[: len(times) // 2], times[len(times) // 2 :]

    def error(self, op: str, **fields: Any) -> TargetsError:
        """Send a request that must fail and return its error."""
        try:
            reply = self.call(op, **fields)
        except TargetsError as error:
            return error
        raise AssertionError(f"{op} succeeded: {reply}")


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
