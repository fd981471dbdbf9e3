"""What a measurement costs the thing measured: `hostctl run` against a bare loop and benchmark_app.

Both sides run by turns (A B, B A, ...), in processes of their own, ROUNDS times SECONDS after a second of warm-up; the ratio is
the median of the rounds' ratios, so that one round which something else disturbed does not decide it. Both sides have
the same runtime with its own default threads, the same precision and one request in flight; against benchmark_app, the same hint.
Neither waits for idle windows and neither reads a meter.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import Row
from benchmarks._in_turn import in_turn, row
from hostctl.models import zoo

ROUNDS = 5
SECONDS = 5
BIN = Path(sys.executable).parent


def printed(command: list[str]) -> str:
    """Run a command to its end and return what it printed. ONNX Runtime's telemetry is off, as farmd has it in workers."""
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def hostctl_run(model: Path, runtime: str, scenario: str) -> dict[str, object]:
    """Measure once with the command line, without idle windows, and return the result."""
    command = [str(BIN / "hostctl"), "run", "--device", "local", "--model", str(model), "--runtime", runtime]
    command += [
        "--scenario",
        scenario,
        "--duration",
        f"{SECONDS}s",
        "--warmup",
        "1s",
        "--idle",
        "0s",
        "--json",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def hostctl_ips(model: Path, runtime: str, scenario: str = "latency") -> float:
    """Return inferences per second of `hostctl run`."""
    value = hostctl_run(model, runtime, scenario)["throughput_ips"]
    assert isinstance(value, float)
    return value


def bare_ips(model: Path, runtime: str) -> float:
    """Return inferences per second of the loop written by hand."""
    return float(printed([sys.executable, "-m", "benchmarks._bare_loop", runtime, str(model), str(SECONDS)]))


def benchmark_app_ips(model: Path, scenario: str) -> float:
    """Return what OpenVINO's own tool reports for the same hint, precision and duration.

    It would run float32 files in bfloat16 where the processor can; hostctl runs a file in its own precision.
    """
    shape = "[1,3,224,224]"
    command = [
        str(BIN / "benchmark_app"),
        "-m",
        str(model),
        "-d",
        "CPU",
        "-hint",
        scenario,
        "-infer_precision",
        "f32",
    ]
    text = printed([*command, "-t", str(SECONDS), "-shape", shape, "-data_shape", shape])
    found = re.search(r"Throughput:\s+([0-9.]+) FPS", text)
    assert found, text
    return float(found.group(1))


def run() -> list[Row]:
    """Measure the four claims."""
    with tempfile.TemporaryDirectory() as folder:
        resnet50 = zoo.build("resnet50", Path(folder))
        ch1 = zoo.build("think-ch1", Path(folder))
        rows = []
        for name, model, bar in (("ResNet50", resnet50, 0.98), ("CH1 (33 parameters)", ch1, 0.90)):
            pairs = in_turn(
                lambda model=model: hostctl_ips(model, "onnxruntime"),  # type: ignore[misc]
                lambda model=model: bare_ips(model, "onnxruntime"),  # type: ignore[misc]
                ROUNDS,
            )
            rows.append(row(f"timed loop ÷ bare loop, {name}, ONNX Runtime", pairs, "1/s", bar, "at least"))
        for scenario in ("latency", "throughput"):
            pairs = in_turn(
                lambda scenario=scenario: hostctl_ips(resnet50, "openvino", scenario),  # type: ignore[misc]
                lambda scenario=scenario: benchmark_app_ips(resnet50, scenario),  # type: ignore[misc]
                ROUNDS,
            )
            name = f"hostctl run ÷ benchmark_app, ResNet50, {scenario}, OpenVINO"
            rows.append(row(name, pairs, "1/s", 0.97, "at least"))
    return rows
