"""The real OpenVINO on the CPU: what is special to it. Other devices: test_openvino_devices.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.formats import ir_file
from tests.targets.helpers import MODELS, WorkerClient, build_onnx, build_quantised_onnx
from tests.targets.runners.cases import need


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        yield client


def openvino_capabilities() -> list[str]:
    openvino = pytest.importorskip("openvino")
    return list(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


@pytest.mark.parametrize(("asked", "capability"), [("float16", "FP16"), ("bfloat16", "BF16")])
def test_it_tells_what_it_made_of_a_precision(
    worker: WorkerClient, tmp_path: Path, asked: str, capability: str
) -> None:
    has = openvino_capabilities()
    described = worker.load(build_onnx(tmp_path / "m"), "openvino", "onnx", precision=asked, batch=1)[
        "describe"
    ]
    got = described["effective"]["precision"]
    if capability in has:
        assert got == asked
        assert described["fallbacks"] == []
    else:
        assert got != asked
        assert described["fallbacks"] == [f"{asked} requested, but OpenVINO executes {got} on this device."]


def test_it_keeps_the_precision_of_the_file_by_itself(worker: WorkerClient, tmp_path: Path) -> None:
    """Left alone, OpenVINO turns float32 into bfloat16 on a CPU that has it; asked for nothing, we do not."""
    need("openvino")
    effective = worker.load(build_onnx(tmp_path / "m"), "openvino", "onnx")["describe"]["effective"]
    assert effective["precision"] == "float32"


def test_it_does_not_choose_the_device_unasked(worker: WorkerClient, tmp_path: Path) -> None:
    need("openvino")
    path = build_onnx(tmp_path / "m")
    base = {"path": str(path), "runtime": "openvino", "format": "onnx", "precision": None, "batch": None}
    for device in ("AUTO", "auto:CPU", "MULTI:CPU", "HETERO:CPU"):
        error = worker.error("load", options={"device": device}, **base)
        assert error.kind == "OptionInvalid"
        assert "allow_auto=1" in error.message
    described = worker.call("load", options={"device": "AUTO", "allow_auto": "1"}, **base)["describe"]
    assert described["effective"]["device"] == "CPU"


def test_it_takes_and_checks_the_vendors_own_options(worker: WorkerClient, tmp_path: Path) -> None:
    need("openvino")
    path = build_onnx(tmp_path / "m")
    base = {"path": str(path), "runtime": "openvino", "format": "onnx", "precision": None, "batch": None}
    for options, message in (
        ({"NUM_STREAM": "2"}, "did you mean 'NUM_STREAMS'"),
        ({"NUM_STREAMS": "zz"}, "NUM_STREAMS=zz"),
        ({"NUM_STREAMS": "2", "streams": "2"}, "say the same"),
        ({"streams": "two"}, "whole number"),
        ({"hint": "fast"}, "latency, throughput"),
    ):
        error = worker.error("load", options=options, **base)
        assert error.kind == "OptionInvalid", options
        assert message in error.message
    described = worker.call("load", options={"streams": "2", "threads": "4096"}, **base)["describe"]
    assert described["effective"]["streams"] == "2"
    (fallback,) = described["fallbacks"]
    assert "threads=4096 requested" in fallback


def test_a_cached_file_needs_no_suffix(worker: WorkerClient, tmp_path: Path) -> None:
    need("openvino")
    path = build_onnx(tmp_path / ("ab" * 32))
    assert worker.load(path, "openvino", "onnx")["spec"]["inputs"][0]["name"] == "x"


@pytest.mark.skipif(not MODELS.is_dir(), reason=f"needs the trained models at {MODELS}")
@pytest.mark.slow
def test_it_tells_when_it_runs_a_quantised_file_in_float(worker: WorkerClient) -> None:
    """OpenVINO executes most of this uint8 model in float32: found in the executed graph, told, never hidden."""
    need("openvino")
    path = MODELS / "coral" / "mobilenet_v2_1.0_224_quant.tflite"
    described = worker.load(path, "openvino", "tflite", batch=1)["describe"]
    assert "int8" in described["effective"]["compute_layers"]
    if described["effective"]["precision"] != "int8":
        (fallback,) = described["fallbacks"]
        assert fallback.startswith("The file is int8, but OpenVINO executes")


def test_cold_and_warm_compilations_are_told_apart(worker: WorkerClient, tmp_path: Path) -> None:
    need("openvino")
    path, options = build_onnx(tmp_path / "m"), {"cache_dir": str(tmp_path / "cache")}
    cold = worker.load(path, "openvino", "onnx", batch=1, options=options)["describe"]["effective"]
    worker.call("unload")
    warm = worker.load(path, "openvino", "onnx", batch=1, options=options)["describe"]["effective"]
    assert (cold["loaded_from_cache"], warm["loaded_from_cache"]) == ("0", "1")
    assert float(cold["compile_cold_ms"]) > 0
    assert float(warm["compile_warm_ms"]) > 0


def test_a_device_without_its_driver_says_what_is_missing(worker: WorkerClient, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    if "GPU" in openvino.Core().available_devices:
        pytest.skip("this machine has an Intel GPU")
    error = worker.error(
        "load", path=str(build_onnx(tmp_path / "m")), runtime="openvino", format="onnx", precision=None, batch=None,
        options={"device": "GPU"},
    )  # fmt: skip
    assert error.kind == "OptionInvalid"
    assert "has no device 'GPU' here" in error.message
    assert "it has CPU" in error.message


def test_a_quantised_ir_runs_in_8_bits(worker: WorkerClient, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().read_model(str(build_quantised_onnx(tmp_path / "q.onnx")))
    openvino.save_model(model, str(tmp_path / "q.xml"), compress_to_fp16=False)
    ir_file.pack(str(tmp_path / "q.xml"), str(tmp_path / "q.bin"), str(tmp_path / "packed"))
    effective = worker.load(tmp_path / "packed", "openvino", "openvino", precision="int8", batch=1)[
        "describe"
    ]["effective"]
    assert effective["precision"] == "int8"
    assert effective["compute_layers"] == "int8:1"
