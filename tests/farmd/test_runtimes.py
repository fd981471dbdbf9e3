"""Real runtimes behind the daemon: tiny ONNX models on ONNX Runtime, files that are none, old interpreters."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import onnx
import pytest
from farm.v1 import tensor_pb2

from farmd.storage import FileSystem
from tests.farmd.modelfarm import DOUBLE, Farm, failed, farm, floats, header_of, x_of

ONNX = {"format": "onnx", "runtime": "onnxruntime", "name": "tiny.onnx"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    with farm(tmp_path, worker_env=MappingProxyType({})) as found:
        yield found


def tiny_onnx() -> bytes:
    """sum = a + b over [n, 4], and the index of each row's largest sum: two inputs, two outputs, two dtypes."""
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("ArgMax", ["sum"], ["top"], axis=1, keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info(name, kind.FLOAT, ["n", 4]) for name in ("a", "b")],
        [
            helper.make_tensor_value_info("sum", kind.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("top", kind.INT64, ["n"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def row(name: str, *values: float) -> tensor_pb2.Tensor:
    data = struct.pack("<4f", *values)
    return tensor_pb2.Tensor(name=name, dtype="float32", shape=[1, 4], data=data)


def test_a_model_on_onnx_runtime_from_upload_to_benchmark(served: Farm) -> None:
    model = served.model(tiny_onnx(), **ONNX)
    assert [(s.name, list(s.shape)) for s in model.spec.inputs] == [("a", [-1, 4]), ("b", [-1, 4])]
    assert model.execution.runtime == "onnxruntime"
    assert model.execution.version[0].isdigit()
    answer = served.infer(model.model_id, row("b", 0, 0, 9, 0), row("a", 1, 2, 3, 4))
    outputs = {t.name: t for t in answer.outputs}
    assert floats(outputs["sum"]) == [1.0, 2.0, 12.0, 4.0]
    assert outputs["top"].dtype == "int64"
    assert struct.unpack("<q", outputs["top"].data) == (2,)
    result = served.benchmark(model.model_id, duration_s=0.1)[-1].result
    assert result.request_count > 10
    assert result.outputs_finite


def test_a_known_runtime_names_its_mistakes(served: Farm) -> None:
    data = tiny_onnx()
    option = failed(served.load, data, **ONNX, options={"treads": "2"})
    assert (option.reason, option.fields) == ("OPTION_INVALID", ["header.options.treads"])
    assert "threads" in option.message
    precision = failed(served.load, data, **ONNX, precision="int3")
    assert (precision.reason, precision.fields) == ("PRECISION_UNSUPPORTED", ["header.precision"])
    runtime = failed(served.load, data, **{**ONNX, "runtime": "onyxruntime"})
    assert runtime.reason == "RUNTIME_UNAVAILABLE"
    assert "onnxruntime" in runtime.message


@pytest.mark.parametrize(
    "harm",
    [lambda d: b"\x00" * 400, lambda d: d[: len(d) // 2], lambda d: d[:-1], lambda d: b"not a model at all"],
    ids=["zeros", "half", "cut", "text"],
)
@pytest.mark.slow
def test_a_damaged_model_ends_in_one_sentence(served: Farm, harm: Any) -> None:
    failure = failed(served.load, harm(tiny_onnx()), **ONNX)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_INVALID")
    assert "'tiny.onnx'" in failure.message or "onnxruntime" in failure.message
    assert str(served.config.state_dir) not in failure.message + "".join(failure.metadata.values())
    assert served.model(tiny_onnx(), **ONNX).model_id


def test_an_interpreter_without_numpy_says_so(tmp_path: Path) -> None:
    bare = next((p for p in Path("/usr/bin").glob("python3.*") if lacks_numpy(p)), None)
    if bare is None:
        pytest.skip("needs a Python without numpy in /usr/bin")
    with farm(tmp_path, default_interpreter=bare) as served:
        failure = failed(served.load)
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WORKER_UNSTARTABLE")
        assert "numpy" in failure.message


def lacks_numpy(interpreter: Path) -> bool:
    if not os.access(interpreter, os.X_OK):
        return False
    found = subprocess.run([interpreter, "-c", "import numpy"], capture_output=True, check=False)
    return b"No module named 'numpy'" in found.stderr


class FillingDisk(FileSystem):
    """Has room for so many bytes of models, whatever it said before."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return super().write(descriptor, data)


def test_a_disk_that_fills_up_in_an_upload_loses_nothing_and_the_daemon_serves_on(tmp_path: Path) -> None:
    disk = FillingDisk(150_000)
    with farm(tmp_path, file_system=disk) as served:
        small = served.model()
        data = DOUBLE + b" " * 300_000
        failure = failed(served.load, data, chunk_bytes=100_000)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
        assert served.infer(small.model_id, x_of(*[1.0] * 8)).outputs
        assert served.supervisor.health() == (True, [])
        disk.room = 1 << 30
        answers = served.load(data)
        assert answers[0].upload.offset_bytes == 100_000
        assert answers[-1].model.model_id


def test_a_disk_without_room_refuses_before_a_byte_is_sent(tmp_path: Path) -> None:
    class Full(FileSystem):
        def free_bytes(self, directory: Path) -> int:
            return 0

    with farm(tmp_path, file_system=Full()) as served:
        failure = failed(next, served.loading(DOUBLE, header_of(DOUBLE)))
        assert failure.reason == "DISK_FULL"
        assert failure.metadata["needed_bytes"] == str(len(DOUBLE))
