"""OpenVINO on devices and versions that are not here: GPU, NPU and AUTO of a new one, Myriad X of 2022.3.

Against a fake of the package (tests/fakes/openvino) that computes in the precision that each device would take.
"""

import json
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
X = np.random.default_rng(1).standard_normal((2, 8)).astype("float32")
GPU = {"device": "GPU.1"}
NPU = {"device": "NPU"}
MYRIAD = {"device": "MYRIAD"}


def start(version: str, **settings: Any) -> WorkerClient:
    """Start a worker over the fake of a version ("old" or "new"), told these settings."""
    folders = (FAKES, FAKES / "openvino", FAKES / "openvino" / version)
    env = {"PYTHONPATH": ":".join(map(str, folders)), "WATTFARM_FAKE": json.dumps(settings)}
    return WorkerClient(interpreter=oldest(), env=env)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build_onnx(tmp_path / "m")


def load(
    worker: WorkerClient, path: Path, options: dict[str, str], precision: str | None = None
) -> dict[str, Any]:
    """Load and return the description."""
    described: dict[str, Any] = worker.load(
        path, "openvino", "onnx", batch=2, options=options, precision=precision
    )["describe"]
    return described


def refusal(
    worker: WorkerClient,
    path: Path,
    options: dict[str, str],
    precision: str | None = None,
    batch: int | None = 2,
    fmt: str = "onnx",
) -> errors.TargetsError:
    return worker.error(
        "load", path=str(path), runtime="openvino", format=fmt, precision=precision, batch=batch, options=options
    )  # fmt: skip


def precision_of(y: Array) -> str:
    """Return the precision in which these outputs were computed, by their distance from the exact ones."""
    error = float(np.abs(y - reference(X)).max())
    return "float32" if error < 1e-5 else "float16" if error < 5e-3 else "bfloat16"


# version, options, precision asked for, precision that computes, words of the only fallback
PLANS: list[tuple[str, dict[str, str], str | None, str, str | None]] = [
    ("new", {}, None, "float32", None),
    ("new", {}, "float16", "float32", "float16 requested, but OpenVINO executes float32"),
    ("new", GPU, None, "float32", None),  # by itself it would take float16
    ("new", GPU, "float32", "float32", None),
    ("new", GPU, "float16", "float16", None),
    ("new", {**GPU, "execution_mode": "performance"}, None, "float16", "The file is float32, but"),
    ("new", NPU, None, "float16", "The file is float32, but OpenVINO executes float16"),
    ("new", NPU, "float32", "float16", "float32 requested, but OpenVINO executes float16"),
    ("new", NPU, "float16", "float16", None),
    ("old", {}, None, "float32", None),  # by itself it would take bfloat16
    ("old", {}, "bfloat16", "bfloat16", None),
    ("old", MYRIAD, None, "float16", "The file is float32, but OpenVINO executes float16"),
    ("old", MYRIAD, "float32", "float16", "float32 requested, but OpenVINO executes float16"),
    ("old", MYRIAD, "float16", "float16", None),
]


@pytest.mark.parametrize("version", ["old", "new"])
def test_each_device_computes_in_the_precision_it_reports(model: Path, version: str) -> None:
    with start(version) as worker:
        for _, options, asked, got, fallback in [plan for plan in PLANS if plan[0] == version]:
            described = load(worker, model, options, asked)
            assert described["effective"]["precision"] == got, (options, asked)
            assert described["effective"]["device"] == options.get("device", "CPU")
            assert precision_of(worker.infer({"x": X})["y"]) == got, (options, asked)
            assert len(described["fallbacks"]) == bool(fallback), described["fallbacks"]
            assert not fallback or fallback in described["fallbacks"][0]
            worker.call("unload")


def test_int8_where_the_device_has_it(tmp_path: Path) -> None:
    path = build_quantised_onnx(tmp_path / "q")
    with start("new") as worker:
        for options in ({}, GPU, NPU):
            assert load(worker, path, options, "int8")["effective"]["precision"] == "int8", options
            worker.call("unload")
        assert "this file is quantised" in refusal(worker, path, NPU, "float16").message
    with start("old") as worker:
        (fallback,) = load(worker, path, MYRIAD)["fallbacks"]
        assert fallback == "The file is int8, but OpenVINO executes float16."
        worker.call("unload")
        error = refusal(worker, path, MYRIAD, "int8")
        assert error.kind == "PrecisionUnsupported"
        assert error.message == "int8 was asked for, but OpenVINO executes float16 on this device."


def test_settings_that_a_version_or_device_lacks_are_refused(model: Path) -> None:
    with start("old") as worker:
        for options, word in (
            ({"cpu_pinning": "1"}, "OpenVINO 2022.3.2 has no ENABLE_CPU_PINNING on CPU"),
            ({"execution_mode": "accuracy"}, "has no EXECUTION_MODE_HINT on CPU"),
            ({**MYRIAD, "threads": "1"}, "has no INFERENCE_NUM_THREADS on MYRIAD"),
            ({**MYRIAD, "streams": "2"}, "has no NUM_STREAMS on MYRIAD"),
            ({"device": "NPU"}, "has no device 'NPU' here; it has CPU, MYRIAD"),
        ):
            error = refusal(worker, model, options)
            assert error.kind == "OptionInvalid", (options, error)
            assert word in error.message
        error = refusal(worker, model, {}, "float16")
        assert error.kind == "PrecisionUnsupported"
        assert "OpenVINO 2022.3.2 has no float16 on CPU" in error.message
        error = refusal(worker, model, {}, fmt="tflite")
        assert error.kind == "FormatUnsupported"
        assert load(worker, model, {**MYRIAD, "scenario": "throughput"})["effective"]["hint"] == "throughput"
    with start("new") as worker:
        for options, word in (
            ({"turbo": "1"}, "has no NPU_TURBO on CPU"),
            ({**NPU, "compiler": "both"}, "driver, plugin"),
            ({**NPU, "NPU_TURBO": "YES", "turbo": "1"}, "say the same"),
            ({**GPU, "GPU_QUEUE_PRIORTY": "LOW"}, "did you mean 'GPU_QUEUE_PRIORITY'"),
            ({"device": "GPU.7"}, "Cannot load library"),
            ({"device": "MYRIAD"}, "archives of OpenVINO 2022.3"),
        ):
            error = refusal(worker, model, options)
            assert error.kind == "OptionInvalid", (options, error)
            assert word in error.message, error
        effective = load(worker, model, {**NPU, "turbo": "1", "compiler": "plugin"})["effective"]
        assert (effective["turbo"], effective["compiler"]) == ("YES", "PLUGIN")


def test_devices_by_number_and_their_memory(model: Path) -> None:
    with start("new") as worker:
        for device, executes, device_bytes in (
            ("GPU", "GPU.0", 4608),
            ("GPU.1", "GPU.1", 4608),
            ("NPU", "NPU", 8192),
            ("CPU", "CPU", None),
        ):
            effective = load(worker, model, {"device": device})["effective"]
            assert (effective["device"], effective["execution_devices"]) == (device, executes)
            assert worker.call("memory")["memory"]["device_bytes"] == device_bytes
            worker.call("unload")


def test_a_cut_setting_is_a_fallback(model: Path) -> None:
    with start("new", most_streams=2) as worker:
        described = load(worker, model, {**GPU, "streams": "4"})
        assert described["fallbacks"] == ["streams=4 requested, but OpenVINO uses 2."]


def test_auto_does_not_begin_on_another_device(model: Path) -> None:
    with start("new") as worker:
        assert "allow_auto=1" in refusal(worker, model, {"device": "AUTO:GPU,CPU"}).message
        described = load(worker, model, {"device": "AUTO:GPU,CPU", "allow_auto": "1"})
        # By itself it would begin on the CPU, and go on there after a failure. Told is what executes, not what was asked for.
        assert described["effective"]["device"] == "GPU.0"


@pytest.mark.parametrize(("version", "key"), [("new", "compile_warm_ms"), ("old", "compile_ms")])
def test_a_read_from_the_cache_is_no_compilation(model: Path, tmp_path: Path, version: str, key: str) -> None:
    """2022.3's CPU does not tell where a model comes from: its times are neither cold nor warm."""
    cached = {"cache_dir": str(tmp_path / "cache")}
    with start(version) as worker:
        assert float(load(worker, model, {})["effective"]["compile_cold_ms"]) > 0
        worker.call("unload")
        first = load(worker, model, cached)["effective"]
        worker.call("unload")
        second = load(worker, model, cached)["effective"]
    assert float(second[key]) > 0
    if version == "new":
        assert (first["loaded_from_cache"], second["loaded_from_cache"]) == ("0", "1")
        assert "compile_cold_ms" in first
        assert "compile_cold_ms" not in second


def test_npu_and_myriad_need_shapes(model: Path) -> None:
    for version, options in (("new", NPU), ("old", MYRIAD)):
        with start(version) as worker:
            error = refusal(worker, model, options, batch=None)
            assert error.kind == "ModelInvalid"
            assert "Give a batch, or shape.<input>" in error.message


def test_what_a_device_can_die_of(model: Path) -> None:
    with start("old", fault="busy", at="load") as worker:
        error = refusal(worker, model, MYRIAD)
        assert error.kind == "RuntimeUnavailable"
        assert "NC_ERROR" in error.message
        assert "Is it there, free" in error.message
    with start("new", fault="no_memory", at="load") as worker:
        assert refusal(worker, model, GPU).kind == "OutOfMemory"
    with start("new", fault="device_lost", at="infer", after=1) as worker:
        load(worker, model, NPU)
        worker.infer({"x": X})
        with pytest.raises(errors.InferenceFailed, match="DEVICE_LOST"):
            worker.infer({"x": X})
    with start("new", fault="missing_library", at="import") as worker:
        error = refusal(worker, model, {})
        assert error.kind == "RuntimeUnavailable"
        assert "libopenvino.so" in error.message
    with start("new", fault="segv", at="load") as worker, pytest.raises(errors.WireClosed):
        load(worker, model, GPU)  # openvinotoolkit/openvino#28985
