"""The generated code runs under protobuf 6 (its generator's) and under the newest that is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOBUF_6 = ROOT / ".venv-proto" / "bin" / "python"
METHODS = {
    "GetInfo", "LoadModel", "UnloadModel", "ListModels", "Infer", "InferStream", "Benchmark",
    "Stats", "WatchStats", "ListRails", "Power", "SyncClock",
}  # fmt: skip


def roundtrip(interpreter: Path) -> tuple[int, set[str]]:
    """Run roundtrip.py; return protobuf's major version and the service's methods."""
    done = subprocess.run(
        [str(interpreter), str(Path(__file__).with_name("roundtrip.py"))],
        env={**os.environ, "PYTHONPATH": str(ROOT / "proto")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return int(told["protobuf"].split(".")[0]), set(told["methods"])


def test_under_protobuf_6() -> None:
    if not PROTOBUF_6.exists():
        pytest.skip("needs the generator's environment: make proto")
    major, methods = roundtrip(PROTOBUF_6)
    assert major == 6
    assert methods == METHODS


def test_under_the_installed_protobuf() -> None:
    major, methods = roundtrip(Path(sys.executable))
    assert major >= 6
    assert methods == METHODS
