"""The real ONNX Runtime: what is special to it. Its providers: test_onnxruntime_providers.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.targets.helpers import WorkerClient, build_onnx
from tests.targets.runners.cases import need


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        yield client


def test_it_reports_float16_that_the_cpu_lacks(worker: WorkerClient, tmp_path: Path) -> None:
    need("onnxruntime")
    described = worker.load(
        build_onnx(tmp_path / "m", dtype="float16"), "onnxruntime", "onnx", precision="float16"
    )["describe"]
    casts = described["effective"]["precision"] == "float32"
    assert casts == bool(described["fallbacks"])
    assert described["effective"]["precision"] in ("float16", "float32")
    worker.call("unload")
    error = worker.error(
        "load", path=str(tmp_path / "m"), runtime="onnxruntime", format="onnx", precision="float32", batch=None,
        options={},
    )  # fmt: skip
    assert error.kind == "PrecisionUnsupported"
    assert error.details["supported"] == ["float16"]


def test_it_reports_nodes_that_fell_back_to_the_cpu(worker: WorkerClient, tmp_path: Path) -> None:
    """The Azure provider is in the stock package and takes no node of this model."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no second provider")
    options = {"provider": "AzureExecutionProvider"}
    described = worker.load(build_onnx(tmp_path / "m"), "onnxruntime", "onnx", options=options)["describe"]
    assert described["effective"]["provider"] == "CPUExecutionProvider"
    assert described["effective"]["device"] == "cpu"
    (fallback,) = described["fallbacks"]
    assert "nodes run on the CPU" in fallback
    worker.call("unload")
    error = worker.error(
        "load", path=str(tmp_path / "m"), runtime="onnxruntime", format="onnx", precision=None, batch=None,
        options={"provider": "AzureExecutionProvidr"},
    )  # fmt: skip
    assert "did you mean 'AzureExecutionProvider'" in error.message
