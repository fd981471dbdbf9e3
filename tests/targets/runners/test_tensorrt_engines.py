"""Engines of TensorRT: kept between loads, loaded ready-made, run in graphs, on a second GPU, on a DLA; on fakes."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets.errors import InputInvalid
from targets.runners.parts.tensorrt.cache import Cache, key_of
from tests.targets.helpers import WorkerClient, build_onnx, reference
from tests.targets.interpreters import oldest
from tests.targets.runners.tensorrt_workers import (
    case_of,
    described,
    each_shape,
    load,
    nonzero_onnx,
    refusal,
    reshape_onnx,
)


def x_of(batch: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal((batch, 8)).astype("float32")


def check_values(worker: WorkerClient, batch: int, seed: int = 1) -> None:
    x = x_of(batch, seed)
    np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-4, atol=1e-5)


# The cache.


def test_the_cache_gives_only_what_was_put_in_whole(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "c"), 1 << 20)
    key = key_of({"b": 1, "a": [2]})
    assert key == key_of({"a": [2], "b": 1})
    assert cache.engine(key) is None
    cache.keep_engine(key, b"plan" * 100, {"tf32": False})
    assert cache.engine(key) == (b"plan" * 100, {"tf32": False})
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700
    file = tmp_path / "c" / f"{key}.engine"
    whole = file.read_bytes()
    for damaged in (
        b"",
        whole[:-1],
        whole[:40],
        b"x" + whole,
        whole[:-1] + b"?",
        whole.replace(b"sha256", b"sha265"),
    ):
        file.write_bytes(damaged)
        assert cache.engine(key) is None
        assert cache.notes.pop() == "the cached plan was damaged or foreign"
        assert not file.exists()
    file.with_name(f"{key_of({})}.engine").write_bytes(whole)  # another key's plan under this one's name
    assert cache.engine(key_of({})) is None


def test_the_longest_unused_engine_makes_room(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), 3000)
    for at, name in enumerate("abc"):
        cache.keep_engine(name, bytes(700), {})
        os.utime(tmp_path / f"{name}.engine", (at, at))
    assert cache.engine("a") is not None  # used just now
    cache.keep_engine("d", bytes(700), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.engine", "c.engine", "d.engine"]
    cache.keep_engine("huge", bytes(5000), {})
    assert [path.name for path in tmp_path.iterdir()] == ["huge.engine"]  # the newest is never the one to go


def test_what_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(str(tmp_path / "file" / "c"), 1 << 20)
    cache.keep_engine("k", b"plan", {})
    assert cache.notes == ["engine was not kept: Not a directory"]


@each_shape
@pytest.mark.slow
def test_an_engine_is_built_once(tmp_path: Path, label: str) -> None:
    model, cache = build_onnx(tmp_path / "m"), tmp_path / "cache"
    options = {"engine_cache": str(cache)}

    def origin(worker: WorkerClient, **fields: Any) -> str:
        more = fields.pop("options", {})
        found: str = load(worker, model, options={**options, **more}, **fields)["describe"]["effective"][
            "engine"
        ]
        check_values(worker, 2)
        worker.call("unload")
        return found

    with case_of(label).worker() as worker:
        assert origin(worker, batch=2) == "built"
        assert origin(worker, batch=2) == "cached"
        assert origin(worker) == "built"
        assert origin(worker, options={"tf32": "1"}, batch=2) == "built"
        assert origin(worker, options={"timing_cache": "0"}, batch=2) == "cached"
        assert len(list(cache.glob("*.timing"))) == 1
        for file in cache.glob("*.engine"):
            file.write_bytes(file.read_bytes()[:-7])
        assert origin(worker, batch=2) == "built; the cached plan was damaged or foreign"
        (timing,) = cache.glob("*.timing")
        timing.write_bytes(b"garbage")
        notes = described(worker, model, batch=3, options=options)["effective"]["engine"]
        assert notes == "built; the timing cache was damaged or foreign"
    with case_of(label).worker(gpu_name="Xavier", capability=[7, 2]) as worker:
        assert origin(worker, batch=2) == "built"  # another GPU has other engines
    with case_of(label).worker(fault="deserialize", at="load") as worker:
        kind, message = refusal(worker, model, batch=2, options=options)
        assert (kind, "does not load the plan" in message) == ("ModelInvalid", True)


def test_a_full_disk_fails_no_load(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    (tmp_path / "file").write_text("")
    with case_of("10").worker() as worker:
        reply = load(worker, model, batch=1, options={"engine_cache": str(tmp_path / "file" / "c")})
        assert reply["describe"]["effective"]["engine"].startswith(
            "built; timing was not kept: Not a directory"
        )
        check_values(worker, 1)


# Ready plans.


def plan_of(folder: Path, worker: WorkerClient, model: Path, **fields: Any) -> Path:
    """Build an engine and return its plan as a file, as trtexec would have saved it."""
    cache = folder / "plans"
    for old in cache.glob("*"):
        old.unlink()
    described(worker, model, options={"engine_cache": str(cache), **fields.pop("options", {})}, **fields)
    (file,) = cache.glob("*.engine")
    found = Cache(str(cache), 1 << 30).engine(file.stem)
    assert found is not None
    plan = folder / "model.plan"
    plan.write_bytes(found[0])
    return plan


@each_shape
def test_a_ready_plan(tmp_path: Path, label: str) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker() as worker:
        plan = plan_of(tmp_path, worker, model, options={"max_batch": "4", "in_flight": "3"})
        reply = load(worker, plan, "tensorrt")
        assert reply["spec"]["inputs"][0]["shape"] == [-1, 8]
        assert reply["describe"]["effective"]["engine"] == "ready plan"
        assert reply["describe"]["effective"]["precision"] == "float32"
        assert "tf32" not in reply["describe"]["effective"]  # a plan does not tell
        check_values(worker, 4)
        with pytest.raises(InputInvalid):
            worker.infer({"x": x_of(5)})
        worker.benchmark(scenario="throughput", in_flight=3, duration_ns=20_000_000, min_count=6)
        worker.call("unload")
        spec = load(worker, plan, "tensorrt", batch=3, precision="float32")["spec"]
        assert spec["outputs"][0]["shape"] == [3, 4]
        check_values(worker, 3)
        worker.call("unload")
        for fields, kind, words in (
            ({"batch": 9}, "OptionInvalid", "it cannot take [9, 8]"),
            ({"precision": "float16"}, "PrecisionUnsupported", "computes in float32"),
            ({"options": {"tf32": "1"}}, "OptionInvalid", "this plan is built"),
            ({"options": {"shape_min.x": "1,8"}}, "OptionInvalid", "this plan is built"),
            ({"options": {"profile": "7"}}, "OptionInvalid", "there is no profile 7"),
        ):
            found, message = refusal(worker, plan, "tensorrt", **fields)
            assert found == kind, message
            assert words in message
        whole = plan.read_bytes()
        for content in (whole[:-9], whole[:3], b"hello" * 50, model.read_bytes()):
            plan.write_bytes(content)
            kind, message = refusal(worker, plan, "tensorrt")
            assert kind == "ModelInvalid"
            assert "Magic tag does not match" in message
            assert str(plan) in message


def test_a_second_profile_of_a_plan(tmp_path: Path) -> None:
    """On 8.2 the second profile has the second half of the bindings."""
    model = build_onnx(tmp_path / "m")
    for label in ("8.2", "8.5"):
        with case_of(label).worker() as worker:
            plan = plan_of(tmp_path, worker, model, options={"max_batch": "4", "in_flight": "2"})
            load(worker, plan, "tensorrt", options={"profile": "1"})
            check_values(worker, 4)
            worker.benchmark(scenario="throughput", in_flight=2, duration_ns=20_000_000, min_count=6)
            check_values(worker, 3, seed=2)


@pytest.mark.parametrize(
    ("built_for", "words"),
    [
        ({"version": "8.5.2.2"}, "not compatible with this version of TensorRT"),
        ({"capability": [7, 2]}, "expecting compute 8.7 got compute 7.2"),
    ],
)
def test_a_plan_for_another_board_is_refused(tmp_path: Path, built_for: dict[str, Any], words: str) -> None:
    model, cache = build_onnx(tmp_path / "m"), tmp_path / "plans"
    for label in ("8.2", "10"):
        with case_of(label).worker(built_for=built_for) as worker:
            kind, message = refusal(worker, model, options={"engine_cache": str(cache)})
            assert kind == "ModelInvalid"
            assert words in message


def test_version_compatible_plans_are_only_what_is_asked_for(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of("10", "10.1.0").worker() as worker:
        plan = plan_of(tmp_path, worker, model, options={"version_compatible": "1"})
    with case_of("10").worker() as worker:
        assert "not compatible" in refusal(worker, plan, "tensorrt")[1]
        load(worker, plan, "tensorrt", options={"version_compatible": "1"})
        check_values(worker, 2)
    with case_of("8.5").worker() as worker:
        kind, message = refusal(worker, model, options={"version_compatible": "1"})
        assert (kind, "no version_compatible" in message) == ("OptionInvalid", True)


# Execution.


@pytest.mark.parametrize("label", ["8.5", "10"])
def test_a_cuda_graph_gives_the_same(tmp_path: Path, label: str) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker() as worker:
        found = load(worker, model, options={"cuda_graph": "1", "in_flight": "2"})["describe"]
        assert found["effective"]["cuda_graph"] == "1"
        for batch, seed in ((2, 1), (2, 2), (5, 3), (2, 4)):  # captured anew when the shape changes
            check_values(worker, batch, seed)
        worker.benchmark(scenario="throughput", in_flight=2, duration_ns=20_000_000, min_count=6)
        assert worker.benchmark()[0]["device_time_ns"] > 0
        check_values(worker, 3)
        worker.call("unload")
        load(worker, model, batch=2)
        check_values(worker, 2)


@pytest.mark.slow
def test_a_graph_that_cannot_be_is_refused(tmp_path: Path) -> None:
    model, graph = build_onnx(tmp_path / "m"), {"cuda_graph": "1"}
    with case_of("8.2").worker() as worker:
        kind, message = refusal(worker, model, options=graph)
        assert (kind, "pycuda.driver has none" in message) == ("OptionInvalid", True)
    for label in ("10", "11"):
        with case_of(label).worker(fault="capture", at="infer") as worker:
            kind, message = refusal(worker, model, options=graph)
            assert (kind, "not permitted when stream is capturing" in message) == ("OptionInvalid", True)
            load(worker, model)
            check_values(worker, 2)
    with case_of("10").worker() as worker:
        kind, message = refusal(worker, nonzero_onnx(tmp_path / "z"), options=graph)
        assert (kind, "depends on the data" in message) == ("OptionInvalid", True)


@pytest.mark.parametrize("label", ["8.5", "11"])
def test_outputs_of_unknown_size(tmp_path: Path, label: str) -> None:
    with case_of(label).worker() as worker:
        spec = load(worker, nonzero_onnx(tmp_path / "z"))["spec"]
        assert spec["outputs"][0]["shape"] == [2, -1]
        for x in (
            [[1, 0, 2], [0, 3, 0]],
            [[0, 0, 0], [0, 0, 0]],
            [[1, 1, 1], [1, 1, 1]],
            [[0, 0, 0], [0, 0, 5]],
        ):
            array = np.asarray(x, "float32")
            np.testing.assert_array_equal(worker.infer({"x": array})["i"], np.array(np.nonzero(array)))


def test_outputs_of_unknown_size_are_refused_by_index(tmp_path: Path) -> None:
    with case_of("8.2").worker() as worker:
        load(worker, nonzero_onnx(tmp_path / "z"))
        refs = worker.place({"x": np.ones((2, 3), "float32")})
        error = worker.error("infer", inputs=refs, output_offset=1024)
        assert (error.kind, "depends on the data" in error.message) == ("InferenceFailed", True)


PLAN_WITH_SHAPES = """
import sys, tensorrt as t
log = t.Logger()
b = t.Builder(log)
n = b.create_network(1 if hasattr(t.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH") else 0)
assert t.OnnxParser(n, log).parse(open(sys.argv[1], "rb").read())
c = b.create_builder_config()
p = b.create_optimization_profile()
p.set_shape_input("s", (1, 1), (2, 3), (6, 6))
assert c.add_optimization_profile(p) == 0
open(sys.argv[2], "wb").write(b.build_serialized_network(n, c))
"""


@each_shape
def test_an_input_that_decides_about_shapes_stays_on_the_host(tmp_path: Path, label: str) -> None:
    model, plan = reshape_onnx(tmp_path / "r"), tmp_path / "r.plan"
    case = case_of(label)
    subprocess.run(
        [oldest(), "-B", "-c", PLAN_WITH_SHAPES, str(model), str(plan)],
        env=case.environment(), check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with case.worker() as worker:
        kind, message = refusal(worker, model)
        assert (kind, "decide about shapes" in message) == ("ModelInvalid", True)
        spec = load(worker, plan, "tensorrt")["spec"]
        assert spec["outputs"][0]["shape"] == [-1, -1]
        kinds = {tensor["name"]: tensor["dtype"] for tensor in spec["inputs"]}
        x = np.arange(6, dtype="float32")
        for shape in ((2, 3), (3, 2), (6, 1), (2, 3)):
            outputs = worker.infer({"x": x, "s": np.asarray(shape, kinds["s"])})
            np.testing.assert_array_equal(outputs["y"], x.reshape(shape))


@pytest.mark.parametrize(
    "binding", ["new_binding", pytest.param("with_cupy", marks=pytest.mark.slow), "with_pycuda"]
)
def test_a_second_gpu(tmp_path: Path, binding: str) -> None:
    """The current device belongs to a thread, and each request in flight has a thread of its own."""
    model = build_onnx(tmp_path / "m")
    with case_of("10", binding=binding).worker(gpus=2) as worker:
        found = load(worker, model, batch=2, options={"device": "gpu:1"})["describe"]
        assert found["effective"]["device"] == "gpu:1"
        check_values(worker, 2)
        worker.benchmark(scenario="throughput", in_flight=3, duration_ns=20_000_000, min_count=6)
        assert worker.benchmark()[0]["device_time_ns"] > 0
        worker.call("unload")
        kind, message = refusal(worker, model, options={"device": "gpu:2"})
        assert (kind, "gpu:0, gpu:1" in message) == ("OptionInvalid", True)
        worker.call("close")
        assert worker.process.wait(30) == 0  # PyCUDA ends the process if a thread leaves a context behind


@each_shape
def test_nothing_is_left_behind_on_the_gpu(tmp_path: Path, label: str) -> None:
    """Far more loads than the memory has room for."""
    model = build_onnx(tmp_path / "m", width=400)
    with case_of(label).worker(gpu_memory_bytes=40_000) as worker:
        taken = set()
        for _ in range(12):
            load(worker, model, batch=4)
            worker.infer({"x": x_of(4)})
            taken.add(worker.call("memory")["memory"]["device_bytes"])
            worker.call("unload")
        assert len(taken) == 1
        assert taken.pop() > 4 * 400 * 4


@pytest.mark.slow
def test_the_device_time_is_the_gpus(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    for label in ("8.2", "11"):
        with case_of(label).worker(latency_ms=5) as worker:
            asleep = load(worker, model, batch=1, options={"blocking_wait": "1"})["describe"]["effective"]
            assert asleep["blocking_wait"] == "1"
            check_values(worker, 1)
            assert worker.benchmark(duration_ns=1, min_count=2)[0]["device_time_ns"] >= 5_000_000


# The DLA.


@pytest.mark.parametrize("label", ["8.2", "10"])
def test_layers_that_the_dla_cannot_run_are_counted(tmp_path: Path, label: str) -> None:
    model = build_onnx(tmp_path / "m")
    with case_of(label).worker(dla_cores=2) as worker:
        for options in ({"dla_core": "1"}, {"device": "dla:1"}):
            found = described(worker, model, precision="float16", batch=1, options=options)
            assert found["effective"]["device"] == "dla:1"
            assert found["fallbacks"] == ["dla:1 requested, but 1 of 3 layers run on the GPU: MatMul."]
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"options": {"dla_core": "1"}}, "PrecisionUnsupported", "float16 and int8"),
            ({"options": {"dla_core": "2"}}, "OptionInvalid", "there is no core 2"),
            ({"options": {"dla_core": "0", "device": "dla:1"}}, "OptionInvalid", "disagree"),
            (
                {"options": {"dla_core": "0", "gpu_fallback": "0"}},
                "ModelInvalid",
                "cannot run 1 of 3 layers (MatMul)",
            ),
        ]
        for fields, kind, words in cases:
            half = {} if kind == "PrecisionUnsupported" else {"precision": "float16"}
            found_kind, message = refusal(worker, model, **half, **fields)
            assert (found_kind, words in message) == (kind, True), message
    with case_of(label).worker(dla_cores=2, dla_ops=[]) as worker:
        found = described(worker, model, precision="float16", batch=1, options={"device": "dla:0"})
        assert found["effective"]["device"] == "gpu:0"
    with case_of(label).worker(dla_cores=2, dla_ops=["MatMul", "Add", "Relu"]) as worker:
        found = described(
            worker, model, precision="float16", batch=1, options={"device": "dla:0", "gpu_fallback": "0"}
        )
        assert (found["effective"]["device"], found["fallbacks"]) == ("dla:0", [])


@pytest.mark.slow
def test_options_that_tensorrt_does_not_have_are_refused(tmp_path: Path) -> None:
    model = build_onnx(tmp_path / "m")
    for label, options, words in (
        ("10", {"threads": "2"}, "no threads"),
        ("8.2", {"optimization_level": "3"}, "has no optimization_level"),
        ("10", {"profile": "0"}, "is for ready plans"),
        ("10", {"workspace_mib": "little"}, "whole number"),
    ):
        with case_of(label).worker() as worker:
            kind, message = refusal(worker, model, options=options)
            assert (kind, words in message) == ("OptionInvalid", True), message
    with case_of("8.5", "8.6.1.6").worker() as worker:
        assert described(worker, model, options={"optimization_level": "5", "workspace_mib": "64"})
