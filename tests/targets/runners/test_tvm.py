"""TVM, on the real package: modules compiled here, and every way in which a file or a sidecar can be wrong."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets.errors import InferenceFailed, TargetsError
from tests.targets.helpers import WorkerClient, reference
from tests.targets.runners.tvm_models import ALLOWED, library, sidecar, tvm_model, write

pytest.importorskip("tvm")


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    with WorkerClient(env=ALLOWED) as client:
        yield client


def refused(worker: WorkerClient, path: Path, **fields: Any) -> TargetsError:
    request = {"precision": None, "batch": None, "options": {}, **fields}
    error = worker.error("load", path=str(path), runtime="tvm", format="tvm", **request)
    assert "\n" not in error.message
    assert error.message.endswith(".")
    return error


def test_it_runs_nothing_unless_the_board_allows_it(tmp_path: Path) -> None:
    path, _ = tvm_model(tmp_path)
    with WorkerClient() as worker:
        error = refused(worker, path)
        (told,) = worker.call("probe", runtimes=["tvm"])["runtimes"]
    assert error.kind == "RuntimeUnavailable"
    assert 'WATTFARM_ALLOW_NATIVE_MODELS = "1" under [worker_env]' in error.message
    assert (told["available"], told["reason"]) == (False, error.message)


def test_values_are_right_and_nothing_is_left_on_the_disk(worker: WorkerClient, tmp_path: Path) -> None:
    path, _ = tvm_model(tmp_path)
    described = worker.load(path, "tvm", "tvm", precision="float32", options={"threads": "1"})["describe"]
    assert described["effective"] == {
        "device": "cpu:0", "precision": "float32", "threads": "1", "target": "llvm"
    }  # fmt: skip
    x = np.random.default_rng(1).standard_normal((2, 8)).astype("float32")
    np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-5, atol=1e-5)
    assert not list(worker.folder.glob("tvm-*"))
    flying, starts, ends = worker.benchmark(scenario="throughput", in_flight=2, min_count=8)
    assert flying["requests"] == len(starts) == len(ends) >= 8


def test_an_open_batch_stays_open_or_takes_what_is_asked(worker: WorkerClient, tmp_path: Path) -> None:
    path = write(tmp_path / "m", sidecar(batch=-1), library("N"))
    spec = worker.load(path, "tvm", "tvm")["spec"]
    assert (spec["inputs"][0]["shape"], spec["outputs"][0]["shape"]) == ([-1, 8], [-1, 4])
    for rows in (1, 3):
        x = np.random.default_rng(rows).standard_normal((rows, 8)).astype("float32")
        np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-5, atol=1e-5)
    worker.call("unload")
    spec = worker.load(path, "tvm", "tvm", batch=5)["spec"]
    assert (spec["inputs"][0]["shape"], spec["outputs"][0]["shape"]) == ([5, 8], [5, 4])
    worker.call("unload")
    fixed, _ = tvm_model(tmp_path)
    assert "static shape [2, 8]" in refused(worker, fixed, batch=8).message


@pytest.mark.slow
def test_a_sidecar_that_cannot_be_right_is_refused_before_the_code_is_touched(
    worker: WorkerClient, tmp_path: Path
) -> None:
    tensor = {"name": "x", "dtype": "float32", "shape": [2, 8]}
    poison = b"\x7fELF never opened"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"schema": "wattfarm.tvm/2"}, '"schema": "wattfarm.tvm/1"'),
        ({"entri": "main"}, "unknown member 'entri'; did you mean 'entry'"),
        ({"tvm": "new"}, '"tvm" must be the version'),
        ({"tvm": "0.1.0"}, "compiled by TVM 0.1.0, but the board has"),
        ({"target": "npu"}, '"target" must be'),
        ({"target": {"kind": "cuda"}}, "no device 'cuda' here; it finds cpu"),
        ({"entry": ""}, '"entry" must be'),
        ({"precision": "int4"}, '"precision" must be one of'),
        ({"inputs": []}, '"inputs" must be a list of tensors'),
        ({"inputs": [tensor, tensor]}, "the name 'x' twice"),
        ({"inputs": [{**tensor, "dtype": "float"}]}, "the dtype 'float'"),
        ({"inputs": [{**tensor, "shape": [0]}]}, "sizes from 1 up"),
        ({"inputs": [{**tensor, "shape": "2,8"}]}, "needs its shape"),
        ({"inputs": [{**tensor, "scale": 0}]}, "a scale above 0"),
        ({"inputs": [{**tensor, "zero_point": 0.5}]}, "a whole zero_point"),
        ({"inputs": [{**tensor, "zeropoint": 1}]}, "did you mean 'zero_point'"),
        ({"outputs": ["y"]}, "must be an object"),
    ]
    for change, words in cases:
        error = refused(worker, write(tmp_path / "m", sidecar(**change), poison))
        assert error.kind in ("ModelInvalid", "OptionInvalid"), change
        assert words in error.message, change


def test_an_archive_without_one_of_its_two_files_says_which(worker: WorkerClient, tmp_path: Path) -> None:
    assert "0 times 'model.json'" in refused(worker, write(tmp_path / "m", None, library())).message
    assert "0 times 'model.so'" in refused(worker, write(tmp_path / "m", sidecar(), None)).message
    bare = tmp_path / "bare.so"
    bare.write_bytes(library())
    error = refused(worker, bare)
    assert error.kind == "ModelInvalid"
    assert "with the .json beside it" in error.message


def test_a_library_that_cannot_be_loaded_never_kills_the_worker(worker: WorkerClient, tmp_path: Path) -> None:
    """The loader of the system dies with SIGBUS on a library that was cut, so it is looked over first."""
    whole = library()
    other = bytearray(whole)
    struct.pack_into("<H", other, 18, 8)  # e_machine: MIPS
    unlinked = bytearray(whole)
    unlinked[16:18] = b"\x00\x00"  # e_type: none
    for code, words in (
        (whole[: len(whole) // 2], "it is cut"),
        (whole[:60], "cut inside its ELF header"),
        (b"hello world", "no ELF file"),
        (bytes(other), "is for mips64, but the board is"),
        (bytes(unlinked), "cannot be loaded"),
    ):
        error = refused(worker, write(tmp_path / "m", sidecar(), code))
        assert error.kind == "ModelInvalid"
        assert words in error.message
    worker.load(tvm_model(tmp_path)[0], "tvm", "tvm")


def test_a_sidecar_that_does_not_fit_the_module_is_found_out(worker: WorkerClient, tmp_path: Path) -> None:
    for change, words in (
        ({"entry": "mian"}, "has no function 'mian'"),
        (
            {"inputs": [{"name": name, "dtype": "float32", "shape": [2, 8]} for name in "xy"]},
            "takes 1 tensors, but the sidecar names 2",
        ),
    ):
        error = refused(worker, write(tmp_path / "m", sidecar(**change), library()))
        assert error.kind == "ModelInvalid"
        assert words in error.message
    x = np.ones((3, 8), "float32")
    inputs = [{"name": "x", "dtype": "float32", "shape": [3, 8]}]
    worker.load(write(tmp_path / "m", sidecar(inputs=inputs), library()), "tvm", "tvm")
    with pytest.raises(InferenceFailed, match=r"3 vs\. 2"):
        worker.infer({"x": x})
    worker.call("unload")
    outputs = [{"name": "y", "dtype": "int8", "shape": [2, 4]}]
    worker.load(write(tmp_path / "m", sidecar(outputs=outputs), library()), "tvm", "tvm")
    with pytest.raises(InferenceFailed, match=r"mend the outputs in model\.json"):
        worker.infer({"x": x[:2].copy()})


@pytest.mark.slow
def test_settings_are_read_back(worker: WorkerClient, tmp_path: Path) -> None:
    path, _ = tvm_model(tmp_path)
    described = worker.load(path, "tvm", "tvm", options={"threads": "4096"})["describe"]
    assert int(described["effective"]["threads"]) < 4096
    (fallback,) = described["fallbacks"]
    assert fallback.startswith("threads=4096 requested, but TVM uses")
    worker.call("unload")
    reply = worker.load(path, "tvm", "tvm", options={"scenario": "throughput"})
    assert (reply["describe"]["effective"]["threads"], reply["describe"]["fallbacks"]) == ("1", [])
    worker.call("unload")
    assert refused(worker, path, precision="float16").kind == "PrecisionUnsupported"
    for device, words in (("cpu:1", "it finds cpu"), ("CPU", "it finds cpu"), ("cuda:0", "it finds cpu")):
        assert words in refused(worker, path, options={"device": device}).message
    quantised = sidecar(precision="int8")
    quantised["inputs"][0].update(scale=0.5, zero_point=3)
    reply = worker.load(write(tmp_path / "m", quantised, library()), "tvm", "tvm", precision="int8")
    assert reply["describe"]["effective"]["precision"] == "int8"
    assert (reply["spec"]["inputs"][0]["scale"], reply["spec"]["inputs"][0]["zero_point"]) == (0.5, 3)
