"""What farmd and its worker add to one remote call: Infer against a bare grpcio unary call of the same bytes.

602,112 bytes go in (an image, 1×3×224×224 float32) and 4,000 come out. The model only copies its first thousand values, so that
what is left is the way: protobuf, the daemon, the hand-off to the worker process and back. Calls alternate.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import onnx
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from farm.v1.tensor_pb2 import Tensor

from benchmarks import Row
from benchmarks._echo_server import METHOD
from hostctl.client import Board
from hostctl.local import local_device

SHAPE = (1, 3, 224, 224)
CALLS = 600
WARMUP = 100
OPTIONS = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]


def copying_model(folder: Path) -> Path:
    """Write y = first thousand values of x."""
    helper, kind = onnx.helper, onnx.TensorProto
    constants = [
        helper.make_tensor("flat", kind.INT64, [1], [-1]),
        helper.make_tensor("from", kind.INT64, [1], [0]),
        helper.make_tensor("to", kind.INT64, [1], [1000]),
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["line"]),
        helper.make_node("Slice", ["line", "from", "to"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "copying",
        [helper.make_tensor_value_info("x", kind.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", kind.FLOAT, [1000])],
        constants,
    )
    path = folder / "copying.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def timed(call: Callable[[], object]) -> float:
    """Return how long one call takes, ms."""
    start_ns = time.monotonic_ns()
    call()
    return (time.monotonic_ns() - start_ns) / 1e6


def run() -> list[Row]:
    """Measure medians of alternating calls."""
    data = np.random.default_rng(0).random(SHAPE, np.float32).tobytes()
    with tempfile.TemporaryDirectory() as folder, local_device() as address, Board(address) as board:
        model = board.load(copying_model(Path(folder)), format="onnx", runtime="onnxruntime")
        request = pb.InferRequest(
            model_id=model.model_id, inputs=[Tensor(name="x", dtype="float32", shape=SHAPE, data=data)]
        )
        echo = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._echo_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert echo.stdout
        bare_address = f"127.0.0.1:{int(echo.stdout.readline())}"
        with (
            grpc.insecure_channel(address, OPTIONS) as ours,
            grpc.insecure_channel(bare_address, OPTIONS) as theirs,
        ):
            infer = DeviceServiceStub(ours).Infer
            bare: grpc.UnaryUnaryMultiCallable[bytes, bytes] = theirs.unary_unary(METHOD)
            body = request.SerializeToString()
            pairs = [
                (timed(lambda: infer(request)), timed(lambda: bare(body))) for _ in range(WARMUP + CALLS)
            ][WARMUP:]
        echo.communicate()
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    name = "Infer round trip ÷ bare grpcio call, 602 kB in, 4 kB out"
    return [Row(name, medians[0], "ms", medians[1], 1.5, "at most")]


if __name__ == "__main__":
    print(run())
