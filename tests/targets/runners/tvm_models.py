"""Small models compiled by the real TVM, once a process."""

import json
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.targets.helpers import build_onnx

ALLOWED = {"WATTFARM_ALLOW_NATIVE_MODELS": "1"}


@cache
def library(batch: int | str = 2) -> bytes:
    """Return the shared library of build_onnx's model: y = relu(x @ w + b), x of [batch, 8]; a text is an open batch."""
    tvm = pytest.importorskip("tvm")
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("TVM links its modules with a C++ compiler, and there is none")
    import onnx
    from tvm.relax.frontend.onnx import from_onnx

    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(str(build_onnx(Path(folder, "small.onnx"), batch=batch)))
        path = Path(folder, "small.so")
        tvm.compile(from_onnx(model), target="llvm").export_library(str(path))
        return path.read_bytes()


def sidecar(batch: int = 2, **changes: Any) -> dict[str, Any]:
    """Return the sidecar of that library."""
    tvm = pytest.importorskip("tvm")
    told = {
        "schema": "wattfarm.tvm/1",
        "tvm": tvm.__version__,
        "target": "llvm",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [batch, 8]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [batch, 4]}],
        **changes,
    }
    return {member: value for member, value in told.items() if value is not None}


def write(path: Path, told: dict[str, Any] | None, code: bytes | None) -> Path:
    """Write an archive of a sidecar and a library, either of which may be missing."""
    with zipfile.ZipFile(path, "w") as archive:
        if told is not None:
            archive.writestr("model.json", json.dumps(told))
        if code is not None:
            archive.writestr("model.so", code)
    return path


def tvm_model(folder: Path) -> tuple[Path, str]:
    """y = relu(x @ w + b), batch 2."""
    return write(folder / "small.tvm", sidecar(), library()), "tvm"
