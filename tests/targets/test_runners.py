"""What is special to single runtimes, over the worker; what all share is in runners/test_conformance.py."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.targets.helpers import MODELS, WorkerClient, build_onnx, build_quantised_onnx, reference
from tests.targets.runners.cases import TINY, inputs_for, need, onnx_model, tflite_model

MODELS_OF = {"onnxruntime": onnx_model, "openvino": onnx_model, "litert": tflite_model}


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        yield client


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_onnx_values_are_right(worker: WorkerClient, tmp_path: Path, runtime: str) -> None:
    need(runtime)
    for batch, fixed in ((1, "N"), (7, "N"), (3, 3)):
        worker.load(build_onnx(tmp_path / "m", batch=fixed), runtime, "onnx", batch=batch)
        x = np.random.default_rng(1).standard_normal((batch, 8)).astype("float32")
        np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-5, atol=1e-5)
        worker.call("unload")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_batch_the_file_does_not_have_is_refused(
    worker: WorkerClient, tmp_path: Path, runtime: str
) -> None:
    need(runtime)
    path = build_onnx(tmp_path / "m", batch=2)
    error = worker.error(
        "load", path=str(path), runtime=runtime, format="onnx", precision=None, batch=8, options={}
    )
    assert error.kind == "OptionInvalid"
    assert "static shape [2, 8]" in error.message


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_without_a_batch_the_first_dimension_stays_free(
    worker: WorkerClient, tmp_path: Path, runtime: str
) -> None:
    need(runtime)
    path, fmt = MODELS_OF[runtime](tmp_path)
    spec = worker.load(path, runtime, fmt)["spec"]
    assert spec["inputs"][0]["shape"][0] == -1
    one = worker.infer(inputs_for(spec, batch=3))
    assert {array.shape[0] for array in one.values()} == {3}
    assert {array.shape[0] for array in worker.infer(inputs_for(spec, batch=1)).values()} == {1}
    assert worker.benchmark()[0]["batch"] == 1


def test_throughput_tuning_changes_what_the_runtime_does(worker: WorkerClient, tmp_path: Path) -> None:
    need("onnxruntime")
    path = build_onnx(tmp_path / "m")
    reply = worker.load(path, "onnxruntime", "onnx", options={"scenario": "throughput"})
    assert reply["describe"]["effective"]["threads"] == "1"
    worker.call("unload")
    need("openvino")
    reply = worker.load(path, "openvino", "onnx", options={"scenario": "throughput"})
    assert reply["describe"]["effective"]["hint"] == "throughput"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_quantised_file_is_int8_and_only_that(worker: WorkerClient, tmp_path: Path, runtime: str) -> None:
    need(runtime)
    path = build_quantised_onnx(tmp_path / "m")
    described = worker.load(path, runtime, "onnx", precision="int8", batch=1)["describe"]
    assert described["effective"]["precision"] == "int8"
    worker.call("unload")
    error = worker.error(
        "load", path=str(path), runtime=runtime, format="onnx", precision="float32", batch=None, options={}
    )
    assert error.kind == "PrecisionUnsupported"


needs_models = pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the trained models at {MODELS}")


@needs_models
@pytest.mark.parametrize(
    "name", ["pretrainedResnet_quant", "kws_ref_model", "vww_96_int8", "ad01_int8", "pretrainedResnet"]
)
@pytest.mark.slow
def test_litert_runs_mlperf_tiny(worker: WorkerClient, name: str) -> None:
    need("litert")
    reply = worker.load(TINY / f"{name}.tflite", "litert", "tflite", batch=1)
    quantised = name != "pretrainedResnet"
    for tensor in reply["spec"]["inputs"] + reply["spec"]["outputs"]:
        assert tensor["dtype"] == ("int8" if quantised else "float32")
        assert (tensor["scale"] is not None) == quantised
        assert (tensor["zero_point"] is not None) == quantised
    assert reply["describe"]["effective"]["precision"] == ("int8" if quantised else "float32")
    result, _, _ = worker.benchmark(min_count=10)
    assert result["requests"] >= 10
    assert result["outputs_finite"] is (None if quantised else True)


@needs_models
@pytest.mark.parametrize("name", ["mlperf_tiny/pretrainedResnet_quant", "coral/mobilenet_v2_1.0_224_quant"])
@pytest.mark.slow
def test_runtimes_agree_on_the_quantisation_of_a_file(worker: WorkerClient, name: str) -> None:
    """OpenVINO drops the scales of a TFLite file; read from the file they are those LiteRT tells."""
    need("litert")
    need("openvino")
    specs = []
    for runtime in ("litert", "openvino"):
        specs.append(worker.load(MODELS / f"{name}.tflite", runtime, "tflite", batch=1)["spec"])
        worker.call("unload")
    assert specs[0] == specs[1]
    assert specs[0]["inputs"][0]["scale"] > 0
    assert specs[0]["outputs"][0]["zero_point"] is not None


@needs_models
@pytest.mark.parametrize("runtime", ["litert", "openvino"])
def test_a_model_for_the_edge_tpu_is_refused_without_one(worker: WorkerClient, runtime: str) -> None:
    need(runtime)
    path = MODELS / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    for precision in (None, "int8"):
        error = worker.error(
            "load",
            path=str(path),
            runtime=runtime,
            format="tflite",
            precision=precision,
            batch=None,
            options={},
        )
        assert error.kind == "ModelInvalid"
        assert "compiled for the Edge TPU" in error.message


@needs_models
def test_litert_refuses_a_delegate_it_cannot_load(worker: WorkerClient) -> None:
    need("litert")
    path = str(TINY / "vww_96_int8.tflite")
    base = {"path": path, "runtime": "litert", "format": "tflite", "precision": None, "batch": None}
    error = worker.error("load", options={"delegate": "libvx_delegate.so"}, **base)
    assert error.kind == "RuntimeUnavailable"
    assert "libvx_delegate.so cannot be used" in error.message
    assert worker.error("load", options={"delegate_options": "a:b"}, **base).kind == "OptionInvalid"
    assert (
        worker.error("load", options={"delegate": "x.so", "delegate_options": "a"}, **base).kind
        == "OptionInvalid"
    )


@needs_models
def test_litert_without_xnnpack(worker: WorkerClient) -> None:
    need("litert")
    path = TINY / "pretrainedResnet.tflite"
    fast = worker.load(path, "litert", "tflite", batch=1)
    inputs = inputs_for(fast["spec"])
    (with_kernels,) = worker.infer(inputs).values()
    worker.call("unload")
    plain = worker.load(path, "litert", "tflite", batch=1, options={"xnnpack": "0"})
    assert plain["describe"]["effective"]["xnnpack"] == "0"
    (without,) = worker.infer(inputs).values()
    np.testing.assert_allclose(with_kernels, without, atol=1e-4)


@needs_models
def test_litert_tells_the_weights_of_a_dynamic_range_model(worker: WorkerClient) -> None:
    """The file calls itself float32; half of its layers have int8 weights."""
    need("litert")
    effective = worker.load(TINY / "kws_ref_model_float32.tflite", "litert", "tflite")["describe"][
        "effective"
    ]
    assert (effective["precision"], effective["weights"]) == ("float32", "float32:5,int8:5")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "litert"])
def test_threads(worker: WorkerClient, tmp_path: Path, runtime: str) -> None:
    need(runtime)
    path, fmt = MODELS_OF[runtime](tmp_path)
    assert int(worker.load(path, runtime, fmt)["describe"]["effective"]["threads"]) >= 1
    worker.call("unload")
    request = {"path": str(path), "runtime": runtime, "format": fmt, "precision": None, "batch": None}
    assert "whole number" in worker.error("load", options={"threads": "many"}, **request).message
    described = worker.load(path, runtime, fmt, options={"threads": "1"})["describe"]
    assert described["effective"]["threads"] == "1"
