"""What farmd and its worker add to one remote call: Infer against a bare grpcio unary call of the same bytes.

602,112 bytes go in (an image, 1×3×224×224 float32) and 4,000 come out. The model only copies its first thousand values, so that
what is left is the way: farmd's checks, the hand-off to the worker process, the runtime's own call (30 to 90 microseconds,
with caches that the way has emptied), and back.

The bare call carries the very same bytes in both directions, ready made, between the same kinds of channel and server: client
options, server options and threads are the product's own. It parses nothing and does nothing. Against it stand the same
ready-made bytes sent to farmd, which is what the board adds, and `Board.infer` from an array to arrays, which makes and reads
the messages as well.

Both sides are measured in turn, ROUNDS times CALLS calls in a row each, as a client in a loop would call; the ratio is the
median of the rounds' ratios of medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import onnx

from benchmarks import Row
from benchmarks._echo_server import METHOD
from benchmarks._in_turn import in_turn, row
from hostctl.client import Board
from hostctl.local import local_device
from hostctl.rpc import open_channel
from hostctl.tensors import infer_message

SHAPE = (1, 3, 224, 224)
INFER = "/farm.v1.DeviceService/Infer"
CALLS = 20
ROUNDS = 50
WARMUP = 100


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


def median_ms(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return how long one of several calls in a row takes. The first one finds everything cold and is not counted."""
    call()
    times_ns = []
    for _ in range(calls):
        start_ns = time.monotonic_ns()
        call()
        times_ns.append(time.monotonic_ns() - start_ns)
    return statistics.median(times_ns) / 1e6


@contextmanager
def bare_call(body: bytes, reply_bytes: int) -> Iterator[Callable[[], object]]:
    """Serve and call nothing but gRPC, in a process of its own as farmd is."""
    command = [sys.executable, "-m", "benchmarks._echo_server", str(reply_bytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as echo:
        assert echo.stdout
        address = f"127.0.0.1:{int(echo.stdout.readline())}"
        with open_channel(address, None) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
            yield lambda: call(body)


@contextmanager
def served(folder: Path) -> Iterator[tuple[Board, str]]:
    """Serve the copying model on this machine; yields hostctl's connection and the model's id."""
    with local_device() as address, Board(address) as board:
        yield board, board.load(copying_model(folder), format="onnx", runtime="onnxruntime").model_id


def against(name: str, ours: Callable[[], object], bare: Callable[[], object]) -> Row:
    """Measure both in turn."""
    median_ms(ours, WARMUP)
    median_ms(bare, WARMUP)
    pairs = in_turn(lambda: median_ms(ours), lambda: median_ms(bare), ROUNDS)
    return row(f"{name} ÷ bare grpcio call, 602 kB in, 4 kB out", pairs, "ms", 1.5, "at most")


def run() -> list[Row]:
    """Measure what the board adds, and the whole way."""
    inputs = {"x": np.random.default_rng(0).random(SHAPE, np.float32)}
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as (board, model_id),
        open_channel(board.address, None) as channel,
    ):
        message = infer_message(model_id, inputs)
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(INFER)
        with bare_call(message, len(infer(message))) as bare:
            return [
                against("Infer, ready-made bytes,", lambda: infer(message), bare),
                against("Board.infer", lambda: board.infer(model_id, inputs), bare),
            ]


if __name__ == "__main__":
    print(run())
