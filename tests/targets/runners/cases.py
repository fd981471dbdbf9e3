"""The cases of the conformance suite: each runtime with a model, real where it installs, a fake elsewhere.

A new runtime adds a case; test_conformance.py does the rest.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from targets import catalogue
from targets.errors import RuntimeUnavailable
from targets.formats import pair_file
from tests.targets.helpers import MODELS, ROOT, Array, WorkerClient, build_onnx
from tests.targets.interpreters import oldest
from tests.targets.runners.akida_models import akida_model, fake_model
from tests.targets.runners.hef_models import hef_model
from tests.targets.runners.tvm_models import ALLOWED, tvm_model
from tests.targets.runners.xmodel_models import xmodel

FAKES = ROOT / "tests" / "fakes"
TINY = MODELS / "mlperf_tiny"
Make = Callable[[Path], tuple[Path, str]]


@dataclass(frozen=True)
class Case:
    """One runtime with one model.

    make         writes the model into a folder; returns its path and format
    fakes        folders under tests/fakes for the worker's path; none: the real package, in this interpreter
    settings     what the fake is told (tests/fakes/faking.py)
    env          what the worker's environment must hold beside that
    options      load options that each load of the case needs
    batch        the batch that is asked for; None where the file has one that cannot be changed
    precision    the effective precision of a load that asks for none
    refused      a precision that this model cannot be given, and a word of the refusal; None: it takes all
    device       the effective device; None: whichever of its kind this machine has
    bad_device   a device that is not there, and a word of the refusal; None where the runtime has no choice
    effective    further settings that a load must have in effect
    """

    runtime: str
    label: str
    make: Make
    fakes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    batch: int | None = 2
    precision: str = "float32"
    refused: tuple[str, str] | None = ("int8", "quantise")
    device: str | None = "cpu"
    bad_device: tuple[str, str] | None = ("npu7", "cpu")
    effective: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.runtime}-{self.label}"

    @property
    def is_fake(self) -> bool:
        """Whether a fake stands for the vendor's package."""
        return bool(self.fakes)

    def worker(self, **settings: Any) -> WorkerClient:
        """Start a worker: the real package in this interpreter (skips if it is not there), a fake in the oldest one found."""
        if not self.is_fake:
            with patch.dict(os.environ, self.env):
                need(self.runtime)
            return WorkerClient(interpreter=sys.executable, env=dict(self.env))
        return WorkerClient(interpreter=oldest(), env=self.environment(**settings))

    def environment(self, **settings: Any) -> dict[str, str]:
        """Return what a worker needs in its environment to find the fakes, and to be told their settings."""
        folders = [FAKES, *(FAKES / fake for fake in self.fakes)]
        return {
            **self.env,
            "PYTHONPATH": ":".join(map(str, folders)),
            "WATTFARM_FAKE": json.dumps({**self.settings, **settings}),
        }

    def request(self, path: Path, fmt: str, **fields: Any) -> dict[str, Any]:
        """Return the members of a load; ``options`` are added to those of the case."""
        options = {**self.options, **fields.pop("options", {})}
        request = {
            "path": str(path),
            "format": fmt,
            "runtime": self.runtime,
            "precision": None,
            "batch": None,
        }
        return {**request, **fields, "options": options}


def need(runtime: str) -> None:
    """Skip, with the reason the runtime gives, where it is not installed."""
    try:
        catalogue.runner_class(runtime).version()
    except RuntimeUnavailable as error:
        pytest.skip(str(error))


def inputs_for(spec: dict[str, Any], batch: int = 1, seed: int = 5) -> dict[str, Array]:
    """Return random inputs; ``batch`` fills a first dimension that is free."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in spec["inputs"]:
        shape = [batch if at == 0 and size == -1 else size for at, size in enumerate(tensor["shape"])]
        kind = np.dtype(tensor["dtype"])
        if kind.kind in "iu":
            low, high = (0, 256) if kind.kind == "u" else (-128, 128)
            found[tensor["name"]] = rng.integers(low, high, shape).astype(kind)
        else:
            found[tensor["name"]] = (rng.standard_normal(shape) * 10).astype(kind)
    return found


def onnx_model(folder: Path) -> tuple[Path, str]:
    """y = relu(x @ w + b), open batch."""
    return build_onnx(folder / "small.onnx"), "onnx"


def half_model(folder: Path) -> tuple[Path, str]:
    """The same in float16, with a batch of one that cannot be changed."""
    return build_onnx(folder / "half.onnx", dtype="float16", batch=1), "onnx"


def tflite_model(folder: Path) -> tuple[Path, str]:
    """MLPerf Tiny's keyword spotting in float32."""
    path = TINY / "kws_ref_model_float32.tflite"
    if not path.exists():
        pytest.skip(f"needs the trained models at {MODELS}")
    return path, "tflite"


def edgetpu_model(folder: Path) -> tuple[Path, str]:
    """Google Coral's MobileNet for 128 x 128 pixels, compiled for the Edge TPU."""
    path = MODELS / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    if not path.exists():
        pytest.skip(f"needs the trained models at {MODELS}")
    return path, "tflite"


def quantised_tflite_model(folder: Path) -> tuple[Path, str]:
    """MLPerf Tiny's image classification in int8."""
    path = TINY / "pretrainedResnet_quant.tflite"
    if not path.exists():
        pytest.skip(f"needs the trained models at {MODELS}")
    return path, "tflite"


def ir_model(folder: Path) -> tuple[Path, str]:
    """The ONNX model as OpenVINO's two files, packed."""
    openvino = pytest.importorskip("openvino")
    from targets.formats import ir_file

    model = openvino.Core().read_model(str(build_onnx(folder / "small.onnx")))
    openvino.save_model(model, str(folder / "small.xml"), compress_to_fp16=False)
    ir_file.pack(str(folder / "small.xml"), str(folder / "small.bin"), str(folder / "packed"))
    return folder / "packed", "openvino"


def ncnn_model(folder: Path) -> tuple[Path, str]:
    """The net of build_onnx for one sample, in ncnn's two files, packed; its weights are stored transposed."""
    rng = np.random.default_rng(3)
    weights, bias = (rng.standard_normal(shape).astype("float32") for shape in ((8, 4), (4,)))
    (folder / "m.param").write_text(
        "7767517\n3 3\nInput x 0 1 x 0=8\nInnerProduct fc 1 1 x h 0=4 1=1 2=32\nReLU relu 1 1 h y\n"
    )
    (folder / "m.bin").write_bytes(bytes(4) + weights.T.tobytes() + bias.tobytes())
    pair_file.pack(
        (str(folder / "m.param"), "model.param"), (str(folder / "m.bin"), "model.bin"), str(folder / "m.zip")
    )
    return folder / "m.zip", "ncnn"


CASES = [
    Case("onnxruntime", "onnx", onnx_model),
    Case(
        "onnxruntime",
        "cuda",
        onnx_model,
        fakes=("onnxruntime",),
        options={"device": "cuda"},
        device="cuda",
        bad_device=("npu7", "cuda"),
        effective={"provider": "CUDAExecutionProvider", "nodes": "CUDAExecutionProvider:3", "tf32": "0"},
    ),
    Case(
        "onnxruntime",
        "tensorrt-before-1.24",
        onnx_model,
        fakes=("onnxruntime",),
        settings={"version": "1.14.0"},
        options={"device": "tensorrt"},
        device="tensorrt",
        bad_device=("npu7", "tensorrt"),
        effective={"nodes": "TensorrtExecutionProvider:3"},
    ),
    Case("openvino", "onnx", onnx_model),
    Case("openvino", "tflite", tflite_model),
    Case(
        "openvino",
        "gpu",
        onnx_model,
        fakes=("openvino", "openvino/new"),
        options={"device": "GPU"},
        device="gpu",
        bad_device=("npu7", "gpu.1"),
        effective={"execution_devices": "GPU.0", "inference_precision": "float32"},
    ),
    Case(
        "openvino",
        "myriad-2022.3",
        half_model,
        fakes=("openvino", "openvino/old"),
        options={"device": "MYRIAD"},
        batch=None,
        precision="float16",
        device="myriad",
        bad_device=("npu7", "myriad"),
    ),
    Case("openvino", "ir", ir_model),
    Case("litert", "tflite", tflite_model),
    Case(
        "litert",
        "vx",
        quantised_tflite_model,
        fakes=("tflite",),
        options={"delegate": "vx"},
        batch=1,
        precision="int8",
        refused=("float16", "quantise"),
        device="vx",
        bad_device=("npu7", "delegate=vx"),
        effective={"ops": "16/16", "parts": "1"},
    ),
    Case(
        "edgetpu",
        "tflite",
        edgetpu_model,
        fakes=("tflite",),
        batch=1,
        precision="int8",
        refused=("float32", "quantise"),
        device="usb:0",
        bad_device=("npu7", "usb:0"),
        effective={"ops": "1/1", "performance": "unknown"},
    ),
    Case("ncnn", "cpu", ncnn_model, batch=None),
    Case("tvm", "so", tvm_model, env=ALLOWED, refused=("int8", "compile it again"), device="cpu:0"),
    Case(
        "akida",
        "software",
        akida_model,
        precision="int8",
        refused=("float32", "quantise"),
        device="software",
        bad_device=("npu7", "software"),
    ),
    Case(
        "akida",
        "chip",
        fake_model,
        fakes=("brainchip",),
        precision="int8",
        refused=("float32", "quantise"),
        device="0",
        bad_device=("1", "software, 0"),
        effective={"layers": "hardware:2,software:0"},
    ),
    Case(
        "hailort",
        "infer-model",
        hef_model,
        ("hailort",),
        precision="int8",
        refused=("float32", "quantise"),
        device="0000:01:00.0",
        bad_device=("npu7", "0000:01:00.0"),
        effective={"api": "infer_model", "io": "native"},
    ),
    Case(
        "vitisai",
        "dpu",
        xmodel,
        ("vitisai",),
        {"engines": 2},
        precision="int8",
        refused=("float32", "quantise"),
        env={"XLNX_VART_FIRMWARE": str(FAKES / "vitisai" / "lib" / "dpu.xclbin")},
        device="dpu",
        bad_device=("npu7", "dpu"),
        effective={"runner": "dpu", "dpu_subgraphs": "1"},
    ),
    *(
        Case(
            "tensorrt",
            label,
            onnx_model,
            ("tensorrt/shared", f"tensorrt/{shape}", "cuda/shared", f"cuda/{binding}"),
            {"tensorrt": version},
            options={"engine_cache": "off"},
            device="gpu:0",
            bad_device=("npu7", "gpu:0"),
            effective={"cuda_binding": module, "precision_from": "engine inspector"},
        )
        for label, version, shape, binding, module in (
            ("8.2", "8.2.1.8", "bindings", "with_pycuda", "pycuda.driver"),
            ("8.5", "8.5.2.2", "both", "old_binding", "cuda.cudart"),
            ("10", "10.3.0", "names", "with_cupy", "cupy.cuda.runtime"),
            ("11", "11.4.0", "names", "new_binding", "cuda.bindings.runtime"),
        )
    ),
]
