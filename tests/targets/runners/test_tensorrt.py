"""TensorRT's own ways: how it fails, what precision it gives, which shapes it is built for. On fakes of 8.2 to 11."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets.errors import InferenceFailed, InputInvalid
from tests.targets.helpers import WorkerClient, build_onnx, build_quantised_onnx, reference
from tests.targets.interpreters import oldest
from tests.targets.runners.tensorrt_workers import (
    case_of,
    described,
    each_shape,
    load,
    open_onnx,
    refusal,
    symmetric_onnx,
)


def x_of(batch: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal((batch, 8)).astype("float32")


def reason_of(worker: WorkerClient) -> str:
    (info,) = worker.call("probe", runtimes=["tensorrt"])["runtimes"]
    assert info["available"] is False
    return str(info["reason"])


# What is missing is said: package, binding, driver, GPU.


@each_shape
def test_the_driver_is_asked_before_tensorrt_is(tmp_path: Path, label: str) -> None:
    """Without a driver 10 and 11 hand out a runtime around a null pointer; the worker says so instead of dying of it."""
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker(fault="no_driver", at="cuda") as worker:
        assert "the NVIDIA driver does not answer" in reason_of(worker)
        kind, message = refusal(worker, model)
        assert kind == "RuntimeUnavailable"
        assert "driver" in message
    with case_of(label).worker(fault="no_gpu", at="cuda") as worker:
        assert "no CUDA-capable device is detected" in reason_of(worker)


def test_a_runtime_without_a_driver_is_a_segmentation_fault() -> None:
    """What the test above keeps from happening: the fake dies as TensorRT does."""
    program = "import tensorrt as t\nr = t.Runtime(t.Logger())\nprint('made', flush=True)\nr.deserialize_cuda_engine(b'')"
    env = case_of("10").environment(fault="no_driver", at="cuda")
    done = subprocess.run(
        [oldest(), "-B", "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "made" in done.stdout
    assert done.returncode == -signal.SIGSEGV


def test_missing_parts_are_named() -> None:
    case = case_of("10")
    for fakes, words in (
        (("cuda/shared", "cuda/new_binding"), "pip install tensorrt"),
        (case.fakes[:3], "pip install cuda-bindings"),
    ):
        alone = type(case)("tensorrt", "part", case.make, fakes, case.settings)
        with alone.worker() as worker:
            assert words in reason_of(worker)


# What a failed call of TensorRT's does not say, its log does.


@pytest.mark.parametrize(
    ("label", "fault", "kind", "words"),
    [
        ("8.2", "parse", "ModelInvalid", "Plugin not found"),
        ("10", "build", "ModelInvalid", "Could not find any implementation for node"),
        ("8.2", "build_memory", "OutOfMemory", "OutOfMemory"),
        ("10", "deserialize", "ModelInvalid", "Engine deserialization failed"),
        ("8.2", "context", "OutOfMemory", "no room for an execution context"),
    ],
)
def test_a_load_that_fails_tells_what_the_log_says(
    tmp_path: Path, label: str, fault: str, kind: str, words: str
) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker(fault=fault, at="load") as worker:
        for _ in range(2):  # the worker is as good as before
            found, message = refusal(worker, model)
            assert found == kind, message
            assert words in message


def test_a_lack_of_device_memory_is_told(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    for label in ("8.2", "11"):
        with case_of(label).worker(fault="gpu_memory", at="cuda") as worker:
            load(worker, model, batch=1)
            error = worker.error("infer", inputs=worker.place({"x": x_of(1)}), output_offset=1024)
            assert error.kind == "OutOfMemory"
            assert "out of memory" in error.message


@pytest.mark.parametrize("fault", ["enqueue", "illegal"])
@each_shape
def test_an_error_that_sticks_is_told_and_kills_nobody(tmp_path: Path, fault: str, label: str) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker(fault=fault, at="infer", after=1) as worker:
        load(worker, model)
        worker.infer({"x": x_of(2)})
        with pytest.raises(InferenceFailed, match="illegal memory access"):
            worker.infer({"x": x_of(2)})
        with pytest.raises(InferenceFailed, match="illegal memory access"):
            worker.infer({"x": x_of(2)})
        worker.call("unload")


def test_a_shape_that_tensorrt_refuses_is_told(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    for label in ("8.2", "11"):
        with case_of(label).worker(fault="shape", at="infer") as worker:
            kind, message = refusal(worker, model)
            assert kind == "ModelInvalid"
            assert "API Usage Error" in message


# Precision: given, read back, or refused; never ignored.


@each_shape
def test_precisions_are_given_or_refused(tmp_path: Path, label: str) -> None:
    by_flags = label != "11"
    model, half = build_onnx(tmp_path / "m"), build_onnx(tmp_path / "h", dtype="float16")
    x = x_of(4)
    with case_of(label).worker() as worker:
        assert described(worker, model)["effective"]["tf32"] == "0"
        assert described(worker, model, options={"tf32": "1"})["effective"]["tf32"] == "1"
        if by_flags:
            effective = load(worker, model, precision="float16")["describe"]["effective"]
            assert (effective["precision"], effective["builder_flags"]) == ("float16", "FP16")
            assert effective["compute_layers"] == "float16:1"
            y = worker.infer({"x": x})["y"]
            np.testing.assert_allclose(y, reference(x), atol=0.05)
            assert not np.allclose(y, reference(x), atol=1e-6)
            worker.call("unload")
        else:
            kind, message = refusal(worker, model, precision="float16")
            assert kind == "PrecisionUnsupported"
            assert "takes the precision from the graph" in message
        found = described(worker, half)
        assert found["effective"]["precision"] == "float16"
        assert found["fallbacks"] == []
        assert refusal(worker, half, precision="float32")[0] == "PrecisionUnsupported"
        has_bfloat16 = label == "10"
        if has_bfloat16:
            assert described(worker, model, precision="bfloat16")["effective"]["precision"] == "bfloat16"
        else:
            assert refusal(worker, model, precision="bfloat16")[0] == "PrecisionUnsupported"


@each_shape
def test_a_quantised_file_is_int8(tmp_path: Path, label: str) -> None:
    model, skewed = symmetric_onnx(tmp_path / "q"), build_quantised_onnx(tmp_path / "a")
    with case_of(label).worker() as worker:
        found = described(worker, model, precision="int8")
        assert found["effective"]["precision"] == "int8"
        assert found["fallbacks"] == []
        assert described(worker, model)["effective"]["precision"] == "int8"
        assert refusal(worker, model, precision="float16")[0] == "PrecisionUnsupported"
        kind, message = refusal(worker, skewed)
        assert kind == "ModelInvalid"
        assert "Non-zero zero point is not supported" in message


def test_what_the_builder_silently_makes_of_a_precision_is_found(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    for label in ("8.2", "8.5", "10"):
        with case_of(label).worker(runs_in={"float16": "float32"}) as worker:
            found = described(worker, model, precision="float16")
            assert found["effective"]["precision"] == "float32"
            assert found["fallbacks"] == [
                "float16 requested, but TensorRT runs 1 of 1 layers that compute in float32."
            ]
            assert described(worker, model, precision="float32")["fallbacks"] == []
    with case_of("8.2").worker(fast=["int8"]) as worker:
        kind, message = refusal(worker, model, precision="float16")
        assert kind == "PrecisionUnsupported"
        assert "no fast float16" in message


def test_an_engine_that_tells_nothing_is_not_said_to_be_checked(tmp_path: Path) -> None:
    with case_of("8.2").worker(inspector="names") as worker:
        effective = described(worker, build_onnx(tmp_path / "m"), precision="float16")["effective"]
        assert (effective["precision"], effective["precision_from"]) == ("float16", "what was built for")


def test_strong_typing_is_asked_for_where_it_exists(tmp_path: Path) -> None:
    model, half = build_onnx(tmp_path / "m"), build_onnx(tmp_path / "h", dtype="float16")
    typed = {"strongly_typed": "1"}
    with case_of("10").worker() as worker:
        assert described(worker, half, options=typed)["effective"]["precision"] == "float16"
        assert refusal(worker, model, precision="float16", options=typed)[0] == "PrecisionUnsupported"
    with case_of("8.2").worker() as worker:
        kind, message = refusal(worker, model, options=typed)
        assert kind == "OptionInvalid"
        assert "no strongly typed networks" in message


@pytest.mark.parametrize("label", ["8.2", "10"])
def test_int8_by_calibration(tmp_path: Path, label: str) -> None:
    model, cache = build_onnx(tmp_path / "m"), tmp_path / "cache"
    samples = np.random.default_rng(0).standard_normal((10, 8)).astype("float32")
    np.savez(tmp_path / "data.npz", x=samples)
    np.save(tmp_path / "data.npy", samples)
    options = {"calibration": str(tmp_path / "data.npz"), "engine_cache": str(cache)}
    x = np.clip(x_of(4), -1.5, 1.5)
    with case_of(label).worker() as worker:
        effective = load(worker, model, precision="int8", batch=4, options=options)["describe"]["effective"]
        assert (effective["precision"], effective["engine"]) == ("int8", "built")
        y = worker.infer({"x": x})["y"]
        np.testing.assert_allclose(y, reference(x), atol=0.5)
        assert not np.allclose(y, reference(x), atol=1e-5)  # the scale came from the data
        worker.call("unload")
        (table,) = cache.glob("*.calibration")
        table.write_bytes(table.read_bytes().split(b"\n")[0] + b"\n4.0")
        options["calibration"] = str(
            tmp_path / "data.npy"
        )  # the same samples: the table of before serves, not the data
        load(worker, model, precision="int8", batch=4, options=options)
        assert abs(worker.infer({"x": x})["y"] - y).max() > 0.5
        worker.call("unload")
        also = described(worker, model, precision="int8", options={**options, "float16_beside_int8": "1"})
        assert also["effective"]["builder_flags"] == "INT8,FP16"


def test_calibration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    good, bad = tmp_path / "good.npy", tmp_path / "bad.npy"
    np.save(good, np.zeros((10, 8), "float32"))
    np.save(bad, np.zeros((10, 7), "float32"))
    np.savez(tmp_path / "other.npz", y=np.zeros((10, 8), "float32"))
    wrong: list[tuple[str, dict[str, Any], str]] = [
        (str(tmp_path / "absent.npy"), {}, "cannot be read"),
        (str(model), {}, "cannot be read"),
        (str(bad), {}, "shape [7]"),
        (str(tmp_path / "other.npz"), {}, "no samples for the input 'x'"),
        (str(good), {"batch": 11}, "one batch needs 11"),
        (str(good), {"precision": "float16"}, "is for the precision int8"),
    ]
    with case_of("8.2").worker() as worker:
        for data, fields, words in wrong:
            kind, message = refusal(
                worker, model, options={"calibration": data}, **{"precision": "int8", **fields}
            )
            assert kind == "OptionInvalid"
            assert words in message
    with case_of("11").worker() as worker:
        assert refusal(worker, model, precision="int8", options={"calibration": str(good)})[0] == (
            "PrecisionUnsupported"
        )


# Shapes: what is built for, and what then runs.


@each_shape
def test_shapes_within_the_range_run_and_others_are_refused(tmp_path: Path, label: str) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker() as worker:
        for options, batches, over in (
            ({}, (1, 16, 3), 17),
            ({"max_batch": "4"}, (4, 1), 5),
            ({"shape_min.x": "2,8", "shape_max.x": "6,8", "shape.x": "3,8"}, (2, 6), 7),
        ):
            spec = load(worker, model, options=options)["spec"]
            assert [tensor["shape"] for tensor in (*spec["inputs"], *spec["outputs"])] == [[-1, 8], [-1, 4]]
            for batch in batches:
                x = x_of(batch)
                np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-4, atol=1e-5)
            with pytest.raises(InputInvalid, match=r"but this engine takes \[\d, 8\] to"):
                worker.infer({"x": x_of(over)})
            worker.call("unload")
        spec = load(worker, model, options={"shape.x": "5,8"})["spec"]
        assert spec["outputs"][0]["shape"] == [5, 4]


def test_shapes_that_cannot_be_are_refused(tmp_path: Path) -> None:
    model, wide = build_onnx(tmp_path / "m"), open_onnx(tmp_path / "w")
    with case_of("8.5").worker() as worker:
        for options, words in (
            ({"shape_min.x": "1,8"}, "give shape_max.x too"),
            ({"shape_min.y": "1,8", "shape_max.y": "2,8"}, "names no input"),
            ({"shape_min.x": "4,8", "shape_max.x": "2,8"}, "is impossible"),
            ({"shape_min.x": "1,7", "shape_max.x": "2,9"}, "is impossible"),
            ({"shape_min.x": "1,8", "shape_max.x": "many"}, "sizes from 1 up"),
        ):
            kind, message = refusal(worker, model, options=options)
            assert kind == "OptionInvalid"
            assert words in message, message
        kind, message = refusal(worker, wide)
        assert kind == "OptionInvalid"
        assert "shape.x=" in message
        ranges = {"shape_min.x": "1,2", "shape_max.x": "4,32"}
        assert load(worker, wide, options=ranges)["spec"]["outputs"][0]["shape"] == [-1, -1]
        x = np.linspace(-1, 1, 60, dtype="float32").reshape(3, 20)
        np.testing.assert_array_equal(worker.infer({"x": x})["y"], np.maximum(x, 0))


@pytest.mark.parametrize(
    ("label", "version"), [("8.2", None), ("8.5", None), ("8.5", "8.6.1.6"), ("10", None)]
)
@pytest.mark.slow
def test_open_shapes_in_flight(tmp_path: Path, label: str, version: str | None) -> None:
    """Before 8.6 each context needs a profile of its own: as many are built as the load asks for."""
    model = build_onnx(tmp_path / "m")
    with case_of(label, version).worker() as worker:
        load(worker, model, options={"in_flight": "3"})
        flight: dict[str, Any] = {"scenario": "throughput", "duration_ns": 20_000_000, "min_count": 6}
        assert worker.benchmark(in_flight=3, **flight)[0]["requests"] >= 6
        if version or label == "10":
            worker.benchmark(in_flight=5, **flight)
        else:
            with pytest.raises(InferenceFailed, match="load the model with in_flight=4"):
                worker.benchmark(in_flight=5, **flight)
        x = x_of(2)
        np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-4, atol=1e-5)
