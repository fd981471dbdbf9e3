"""ONNX Runtime's providers: options, the precision in which they compute, and every way in which they leave work to the CPU.

Against a fake of the package (tests/fakes/onnxruntime) that computes in the precision that the real one would take.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets import errors
from tests.targets.helpers import (
    ROOT,
    Array,
    WorkerClient,
    build_onnx,
    build_quantised_onnx,
    reference,
)
from tests.targets.interpreters import oldest

FAKES = ROOT / "tests" / "fakes"
CUDA = {"provider": "CUDAExecutionProvider"}
TENSORRT = {"provider": "TensorrtExecutionProvider"}
OPENVINO = {"provider": "OpenVINOExecutionProvider"}
QNN = {"provider": "QNNExecutionProvider", "ep.backend_path": "libQnnHtp.so"}
VITISAI = {"provider": "VitisAIExecutionProvider"}
XNNPACK = {"provider": "XnnpackExecutionProvider"}
ACL = {"provider": "ACLExecutionProvider"}
X = np.random.default_rng(1).standard_normal((2, 8)).astype("float32")


def start(plugin: bool = False, **settings: Any) -> WorkerClient:
    """Start a worker over the fake, told these settings; ``plugin`` puts a provider's own package beside it."""
    folders = [FAKES, FAKES / "onnxruntime", *([FAKES / "onnxruntime" / "plugin"] if plugin else [])]
    env = {
        "PYTHONPATH": ":".join(map(str, folders)),
        "WATTFARM_FAKE": json.dumps(settings),
    }
    return WorkerClient(interpreter=oldest(), env=env)


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    with start() as client:
        yield client


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_onnx(tmp_path / "m")


def load(
    worker: WorkerClient, path: Path, options: dict[str, str], precision: str | None = None
) -> dict[str, Any]:
    """Load and return the description."""
    described: dict[str, Any] = worker.load(
        path, "onnxruntime", "onnx", batch=2, options=options, precision=precision
    )["describe"]
    return described


def refusal(
    worker: WorkerClient, path: Path, options: dict[str, str], precision: str | None = None
) -> errors.TargetsError:
    return worker.error(
        "load", path=str(path), runtime="onnxruntime", format="onnx", precision=precision, batch=2, options=options
    )  # fmt: skip


def precision_of(y: Array) -> str:
    """Return the precision in which these outputs were computed, by their distance from the exact ones."""
    error = float(np.abs(y - reference(X)).max())
    return "float32" if error < 1e-5 else "float16" if error < 5e-3 else "bfloat16"


# provider options, precision asked for, precision that computes, words of the only fallback
PLANS: list[tuple[dict[str, str], str | None, str, str | None]] = [
    (CUDA, None, "float32", None),
    (CUDA, "float32", "float32", None),
    (TENSORRT, None, "float32", None),
    (TENSORRT, "float16", "float16", None),
    ({**TENSORRT, "ep.trt_fp16_enable": "True"}, None, "float16", None),
    (OPENVINO, None, "float32", None),
    ({**OPENVINO, "ep.device_type": "GPU"}, None, "float32", None),
    ({**OPENVINO, "ep.device_type": "GPU.1"}, "float16", "float16", None),
    ({**OPENVINO, "ep.device_type": "GPU", "ep.precision": "FP16"}, None, "float16", None),
    ({**OPENVINO, "ep.device_type": "NPU"}, None, "float16", "The file is float32, but"),
    ({**OPENVINO, "ep.device_type": "NPU"}, "float16", "float16", None),
    (QNN, None, "float32", None),
    (QNN, "float16", "float16", None),
    (VITISAI, None, "bfloat16", "The file is float32, but VitisAIExecutionProvider converts it"),
    (VITISAI, "float32", "bfloat16", "float32 requested, but"),
    (VITISAI, "bfloat16", "bfloat16", None),
    (XNNPACK, "float32", "float32", None),
    (ACL, None, "float32", None),
    (ACL, "bfloat16", "bfloat16", None),
]


def test_each_provider_computes_in_the_precision_it_reports(worker: WorkerClient, model: Path) -> None:
    for options, asked, got, fallback in PLANS:
        described = load(worker, model, options, asked)
        assert described["effective"]["precision"] == got, (options, asked)
        assert precision_of(worker.infer({"x": X})["y"]) == got, (options, asked)
        assert [fallback in text for text in described["fallbacks"] if fallback] == [True] * bool(fallback)
        assert len(described["fallbacks"]) == bool(fallback), described["fallbacks"]
        assert described["effective"]["provider"] == options["provider"]
        worker.call("unload")


def test_a_precision_that_a_provider_cannot_give_is_refused(worker: WorkerClient, model: Path) -> None:
    for options, asked, word in (
        (CUDA, "float16", "runs a file in the precision it has"),
        (CUDA, "int8", "quantise"),
        (TENSORRT, "int8", "ep.trt_int8_calibration_table_name"),
        (OPENVINO, "float16", "has no float16 on CPU"),
        ({**OPENVINO, "ep.device_type": "NPU"}, "float32", "has no float32 on NPU"),
        (ACL, "float16", "cannot give float16"),
        (VITISAI, "float16", "precision it has"),
    ):
        error = refusal(worker, model, options, asked)
        assert error.kind == "PrecisionUnsupported", (options, asked)
        assert word in error.message, error


def test_int8_is_what_is_quantised_or_calibrated(worker: WorkerClient, model: Path, tmp_path: Path) -> None:
    quantised = build_quantised_onnx(tmp_path / "q")
    for options in (CUDA, TENSORRT, OPENVINO, QNN, VITISAI):
        assert load(worker, quantised, options)["effective"]["precision"] == "int8", options
        worker.call("unload")
        assert refusal(worker, quantised, options, "float16").kind == "PrecisionUnsupported"
    table = {**TENSORRT, "ep.trt_int8_calibration_table_name": "table.flatbuffers"}
    effective = load(worker, model, table, "int8")["effective"]
    assert (effective["precision"], effective["ep.trt_int8_enable"]) == ("int8", "1")


def test_options_are_checked_before_the_provider_sees_them(worker: WorkerClient, model: Path) -> None:
    for options, word in (
        ({**CUDA, "ep.devise_id": "0"}, "did you mean 'device_id'"),
        ({**CUDA, "ep.trt_fp16_enable": "1"}, "not one of CUDAExecutionProvider"),
        ({"ep.device_id": "1"}, "not one of CPUExecutionProvider"),
        ({**OPENVINO, "ep.device_type": "AUTO:GPU,CPU"}, "lets OpenVINO choose"),
        ({**OPENVINO, "ep.load_config": "{"}, "must be JSON"),
        ({**XNNPACK, "threads": "2", "ep.intra_op_num_threads": "2"}, "say the same"),
        ({"strict": "1"}, "needs the option provider"),
        ({**XNNPACK, "io_binding": "1"}, "io_binding=1 is for CUDA"),
        ({**XNNPACK, "tf32": "1"}, "tf32 is for"),
        ({**CUDA, "device": "cuda"}, "not both"),
        ({"provider": "CUDAExecutionProvidr"}, "did you mean 'CUDAExecutionProvider'"),
        ({"device": "cudda"}, "did you mean 'cuda'"),
    ):
        error = refusal(worker, model, options)
        assert error.kind == "OptionInvalid", (options, error)
        assert word in error.message, error
    for options, precision in (
        ({**TENSORRT, "ep.trt_fp16_enable": "1"}, "float32"),
        ({**TENSORRT, "ep.trt_fp16_enable": "0"}, "float16"),
        ({**QNN, "ep.enable_htp_fp16_precision": "1"}, "float32"),
        ({**OPENVINO, "ep.device_type": "GPU", "ep.precision": "FP16"}, "float32"),
        ({**CUDA, "tf32": "1"}, "float32"),
    ):
        assert "contradicts" in refusal(worker, model, options, precision).message


def test_settings_are_read_back_or_listed_as_unconfirmed(worker: WorkerClient, model: Path) -> None:
    effective = load(worker, model, {**CUDA, "ep.device_id": "1"})["effective"]
    assert effective["ep.device_id"] == "1"
    assert effective["tf32"] == "0"
    assert "unconfirmed" not in effective
    worker.call("unload")
    effective = load(worker, model, {**OPENVINO, "threads": "3"})["effective"]
    assert (effective["threads"], effective["unconfirmed"]) == ("3", "ep.num_of_threads")
    worker.call("unload")
    assert load(worker, model, {**XNNPACK, "threads": "1"})["effective"]["ep.intra_op_num_threads"] == "1"
    worker.call("unload")
    assert load(worker, model, {**CUDA, "tf32": "1"})["effective"]["tf32"] == "1"
    with start(took={"gpu_mem_limit": "1024"}) as other:
        (fallback,) = load(other, model, {**CUDA, "ep.gpu_mem_limit": "4096"})["fallbacks"]
        assert fallback == "ep.gpu_mem_limit=4096 requested, but CUDAExecutionProvider has 1024."


@pytest.mark.parametrize("version", ["1.31.1", "1.14.0"])
def test_nodes_left_to_the_cpu_are_counted(model: Path, version: str) -> None:
    """Old versions do not tell the assignment; one profiled inference does."""
    with start(version=version, cpu_ops=["Relu"]) as worker:
        described = load(worker, model, CUDA)
        assert described["fallbacks"] == ["CUDAExecutionProvider requested, but 1 of 3 nodes run on the CPU."]
        assert described["effective"]["nodes"] == "CPUExecutionProvider:1,CUDAExecutionProvider:2"
        assert described["effective"]["device"] == "cuda"
        worker.call("unload")
        error = refusal(worker, model, {**CUDA, "strict": "1"})
        assert error.kind == "OptionInvalid"
        assert "strict=1 forbids" in error.message
    with start(version=version, cpu_ops=["MatMul", "Add", "Relu"]) as worker:
        described = load(worker, model, TENSORRT, "float16")
        assert described["effective"]["provider"] == "CPUExecutionProvider"
        assert (described["device"], described["effective"]["precision"]) == ("cpu", "float32")
        assert "3 of 3 nodes run on the CPU" in described["fallbacks"][0]


@pytest.mark.parametrize("version", ["1.31.1", "1.10.0"])
def test_a_provider_that_does_not_start_fails_the_load(model: Path, version: str) -> None:
    """The package goes on on the CPU with two lines in its log; the oldest does so even where its option raised."""
    with start(version=version, unstartable=["CUDAExecutionProvider"]) as worker:
        error = refusal(worker, model, CUDA)
        assert error.kind == "RuntimeUnavailable"
        assert "CUDAExecutionProvider could not be started" in error.message
        assert error.details["package"] == "onnxruntime-gpu"
        assert refusal(worker, model, {**OPENVINO, "ep.precision": "FP16"}).kind == "RuntimeUnavailable"
        # Known to us, not to this build.
        error = refusal(worker, model, {**CUDA, "ep.prefer_nhwc": "1"})
        assert error.kind == ("RuntimeUnavailable" if version == "1.10.0" else "OptionInvalid")


def test_a_provider_of_another_flavour_names_its_package(model: Path) -> None:
    with start(providers=["CUDAExecutionProvider"]) as worker:
        for provider, package in (
            ("qnn", "onnxruntime-qnn"),
            ("openvino", "onnxruntime-openvino"),
            ("dml", "directml"),
        ):
            error = refusal(worker, model, {"device": provider})
            assert error.kind == "RuntimeUnavailable"
            assert package in error.message
    with start(fault="missing_library", at="import") as worker:
        error = refusal(worker, model, {})
        assert error.kind == "RuntimeUnavailable"
        assert "libonnxruntime.so.1" in error.message
        assert "onnxruntime-gpu (CUDA, TensorRT)" in error.message


def test_a_failed_engine_build_never_becomes_a_run_on_the_cpu(model: Path) -> None:
    """run() would go over to the CPU after an EPFail, for good, with a line on stdout."""
    with start(fault="engine_build", at="load") as worker:
        assert refusal(worker, model, TENSORRT).kind == "ModelInvalid"
    with start(fault="engine_build", at="infer", after=1) as worker:
        load(worker, model, TENSORRT)
        worker.infer({"x": X})
        for _ in range(2):
            with pytest.raises(errors.InferenceFailed, match="failed to create engine"):
                worker.infer({"x": X})
        assert worker.error("benchmark", scenario="latency", in_flight=None, duration_ns=1, min_count=1, warmup_ns=0,
                            warmup_count=0, inputs=None, seed=1, times_path="t").kind == "InferenceFailed"  # fmt: skip
    with start(
        fault="engine_build", at="profile", version="1.14.0"
    ) as worker:  # found by the profiled inference
        assert refusal(worker, model, TENSORRT).kind == "ModelInvalid"
    with start(fault="out_of_memory", at="infer") as worker:
        load(worker, model, CUDA)
        with pytest.raises(errors.OutOfMemory):
            worker.infer({"x": X})


def test_a_provider_that_kills_its_process_ends_only_the_worker(model: Path) -> None:
    with start(fault="second_session", at="load") as worker:
        load(worker, model, VITISAI)
        worker.call("unload")
        with pytest.raises(errors.WireClosed):
            load(worker, model, VITISAI)
    with start(fault="segv", at="load") as worker, pytest.raises(errors.WireClosed):
        load(worker, model, TENSORRT)


def test_io_binding_keeps_tensors_on_the_device(worker: WorkerClient, model: Path) -> None:
    described = load(worker, model, {**CUDA, "io_binding": "1", "ep.device_id": "0"})
    assert described["effective"]["io_binding"] == "1"
    np.testing.assert_allclose(worker.infer({"x": X})["y"], reference(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(worker.infer({"x": -X})["y"], reference(-X), rtol=1e-5, atol=1e-5)
    reply, _, _ = worker.benchmark(scenario="throughput", in_flight=2, min_count=5)
    assert reply["outputs_finite"] is True
    worker.call("unload")
    assert "whole number" in refusal(worker, model, {**CUDA, "io_binding": "1", "ep.device_id": "x"}).message


def test_a_provider_of_a_package_beside_is_registered(model: Path) -> None:
    """QNN from its version 2 on: ONNX Runtime does not list it until its library is registered, once a process."""
    inside = ["CUDAExecutionProvider"]
    with start(plugin=True, providers=inside) as worker:
        for precision in ("float32", "float16"):
            described = load(worker, model, {"device": "qnn"}, precision)
            assert described["effective"]["provider"] == "QNNExecutionProvider"
            assert described["effective"]["nodes"] == "QNNExecutionProvider:3"
            assert precision_of(worker.infer({"x": X})["y"]) == precision
            worker.call("unload")
    with start(plugin=True, providers=inside, plugin_devices=[]) as worker:
        for _ in range(2):
            error = refusal(worker, model, {"device": "qnn"})
            assert error.kind == "RuntimeUnavailable"
            assert "onnxruntime-qnn finds no device here" in error.message
    with start(plugin=True, providers=inside, fault="missing_plugin") as worker:
        assert "cannot be loaded" in refusal(worker, model, {"device": "qnn"}).message
    with start(plugin=True, providers=inside, version="1.14.0") as worker:
        assert "built without QNNExecutionProvider" in refusal(worker, model, {"device": "qnn"}).message
