"""The conformance cases of real accelerators, and which of them this machine has."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from targets.errors import OptionInvalid, RuntimeUnavailable
from tests.targets.helpers import MODELS
from tests.targets.runners.cases import CASES, Case, Make, onnx_model

CORAL = MODELS / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"


def coral_model(_folder: Path) -> tuple[Path, str]:
    """A real network, compiled for the Edge TPU by its vendor."""
    if not CORAL.exists():
        pytest.skip(f"needs the compiled model {CORAL.name} in {CORAL.parent}")
    return CORAL, "tflite"


def given(variable: str, fmt: str) -> Make:
    """Return what finds a compiled model that only its owner's compiler can make, by an environment variable."""

    def find(_folder: Path) -> tuple[Path, str]:
        path = os.environ.get(variable)
        if not path:
            pytest.skip(f"set {variable} to a compiled model for this accelerator")
        return Path(path), fmt

    return find


HARDWARE = [
    Case("onnxruntime", "cuda", onnx_model, options={"device": "cuda"}, device="cuda", bad_device=None),
    Case(
        "onnxruntime", "tensorrt", onnx_model, options={"device": "tensorrt"}, device="tensorrt", bad_device=None
    ),
    Case("openvino", "gpu", onnx_model, options={"device": "GPU"}, device="gpu.0", bad_device=None),
    Case(
        "openvino", "npu", onnx_model, options={"device": "NPU"}, device="npu", precision="float16", bad_device=None
    ),
]  # fmt: skip
"""A failure here is a finding about that hardware: our expectations of it come from documents alone."""
SOFTWARE = [case for case in CASES if not case.is_fake]


def why_absent(case: Case) -> str | None:
    """Return why this machine cannot run a case; None if it can."""
    try:
        with tempfile.TemporaryDirectory() as folder, case.worker() as worker:
            path, fmt = case.make(Path(folder))
            worker.call("load", **case.request(path, fmt))
    except (RuntimeUnavailable, OptionInvalid) as error:
        return error.message
    except pytest.skip.Exception as skipped:
        return str(skipped)
    return None
