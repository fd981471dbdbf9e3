"""The loop a person would write by hand: `python -m benchmarks._bare_loop RUNTIME MODEL SECONDS` prints 1/s.

Nothing of Wattfarm is imported. The input is random, the settings are the runtime's own defaults for one
request at a time, and nothing is recorded: this is the ceiling that `hostctl run` is held against.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np


def onnxruntime_call(path: str) -> Callable[[], object]:
    """Return one `session.run` on a fixed input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {
        node.name: np.random.default_rng(0).random(
            [size if isinstance(size, int) else 1 for size in node.shape], np.float32
        )
        for node in session.get_inputs()
    }
    return lambda: session.run(None, feed)


def openvino_call(path: str) -> Callable[[], object]:
    """Return one `request.infer` on inputs that were set once, under the latency hint."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({port.any_name: _fixed(port.partial_shape) for port in model.inputs})
    request = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
    for tensor in request.input_tensors:
        tensor.data[...] = np.random.default_rng(0).random(tensor.shape, np.float32)
    return lambda: request.infer()


def _fixed(shape: object) -> list[int]:
    return [1 if size.is_dynamic else size.get_length() for size in shape]  # type: ignore[attr-defined]


def main() -> None:
    """Warm up for a second, then count."""
    runtime, path, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    call = {"onnxruntime": onnxruntime_call, "openvino": openvino_call}[runtime](path)
    warm_until = time.monotonic() + 1.0
    while time.monotonic() < warm_until:
        call()
    count = 0
    start = time.monotonic()
    end = start + seconds
    while (now := time.monotonic()) < end:
        call()
        count += 1
    print(count / (now - start))


if __name__ == "__main__":
    main()
