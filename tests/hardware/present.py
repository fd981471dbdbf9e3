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


def quantised_model(_folder: Path) -> tuple[Path, str]:
    """MLPerf Tiny's visual wake words in 8 bits."""
    path = MODELS / "mlperf_tiny" / "vww_96_int8.tflite"
    if not path.exists():
        pytest.skip(f"needs the trained model {path.name} in {path.parent}")
    return path, "tflite"


def given(variable: str, fmt: str) -> Make:
    """Return what finds a compiled model that only its owner's compiler can make, by an environment variable."""

    def find(_folder: Path) -> tuple[Path, str]:
        path = os.environ.get(variable)
        if not path:
            pytest.skip(f"set {variable} to a compiled model for this accelerator")
        return Path(path), fmt

    return find


def on(runtime: str, label: str, make: Make, precision: str = "float32", **options: str) -> Case:
    """Return a case on whichever device of its kind there is."""
    refused = None if precision == "float32" else ("float32", "")
    batch = 2 if make is onnx_model else None
    return Case(
        runtime,
        label,
        make,
        options=options,
        batch=batch,
        precision=precision,
        refused=refused,
        device=None,
        bad_device=None,
    )


HARDWARE = [
    on("onnxruntime", "cuda", onnx_model, device="cuda"),
    on("onnxruntime", "tensorrt", onnx_model, device="tensorrt"),
    on("openvino", "gpu", onnx_model, device="GPU"),
    on("openvino", "npu", onnx_model, "float16", device="NPU"),
    on("tensorrt", "gpu", onnx_model),
    on("edgetpu", "coral", coral_model, "int8"),
    on("litert", "vx", quantised_model, "int8", delegate="vx"),
    on("litert", "ethos-u", given("WATTFARM_ETHOSU_MODEL", "tflite"), "int8", delegate="ethos-u"),
    on("hailort", "hef", given("WATTFARM_HEF", "hef"), "int8"),
    on("vitisai", "xmodel", given("WATTFARM_XMODEL", "xmodel"), "int8"),
    on("akida", "chip", given("WATTFARM_FBZ", "akida"), "int8", device="0"),
]
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
