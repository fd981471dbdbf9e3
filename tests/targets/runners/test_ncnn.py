"""ncnn: the real package."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets.errors import ModelInvalid
from targets.formats import ncnn_file, pair_file
from tests.targets.helpers import WorkerClient, reference
from tests.targets.runners.cases import ncnn_model, need


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    need("ncnn")
    with WorkerClient() as client:
        yield client


def test_values_are_right_in_full_precision(worker: WorkerClient, tmp_path: Path) -> None:
    """Left alone, ncnn would compute in 16 bits, which is off by a thousandth."""
    path, fmt = ncnn_model(tmp_path)
    described = worker.load(path, "ncnn", fmt, options={"packing": "0", "threads": "2"})["describe"]
    assert described["effective"] == {"device": "cpu", "precision": "float32", "threads": "2", "packing": "0"}
    x = np.random.default_rng(1).standard_normal((1, 8)).astype("float32")
    np.testing.assert_allclose(worker.infer({"x": x})["y"], reference(x), rtol=1e-6, atol=1e-6)


def test_a_batch_is_refused(worker: WorkerClient, tmp_path: Path) -> None:
    path, fmt = ncnn_model(tmp_path)
    request: dict[str, Any] = {
        "path": str(path),
        "runtime": "ncnn",
        "format": fmt,
        "precision": None,
        "options": {},
    }
    assert "static shape [1, 8]" in worker.error("load", batch=4, **request).message


def test_an_open_shape_is_bound_by_an_option(worker: WorkerClient, tmp_path: Path) -> None:
    _, fmt = ncnn_model(tmp_path)
    text = (tmp_path / "m.param").read_text().replace("Input x 0 1 x 0=8", "Input x 0 1 x")
    open_path = packed(tmp_path, text)
    assert worker.load(open_path, "ncnn", fmt)["spec"]["inputs"][0]["shape"] == [1, -1]
    worker.call("unload")
    spec = worker.load(open_path, "ncnn", fmt, options={"shape.x": "1,8"})["spec"]
    assert (spec["inputs"][0]["shape"], spec["outputs"][0]["shape"]) == ([1, 8], [1, 4])


def packed(folder: Path, text: str, weights: bytes | None = None) -> Path:
    param, binary, path = folder / "n.param", folder / "n.bin", folder / "n.zip"
    param.write_text(text)
    binary.write_bytes((folder / "m.bin").read_bytes() if weights is None else weights)
    pair_file.pack((str(param), "n.param"), (str(binary), "n.bin"), str(path))
    return path


def test_weights_that_do_not_fit_and_layers_nobody_knows(worker: WorkerClient, tmp_path: Path) -> None:
    path, fmt = ncnn_model(tmp_path)
    text = (tmp_path / "m.param").read_text()
    request: dict[str, Any] = {
        "runtime": "ncnn",
        "format": fmt,
        "precision": None,
        "batch": None,
        "options": {},
    }
    short = worker.error("load", path=str(packed(tmp_path, text, bytes(20))), **request)
    assert (short.kind, "do not fit" in short.message) == ("ModelInvalid", True)
    unknown = worker.error("load", path=str(packed(tmp_path, text.replace("ReLU", "Rleu"))), **request)
    assert (unknown.kind, "layers" in unknown.message) == ("ModelInvalid", True)
    worker.call("load", path=str(path), **request)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello", "begin with 7767517"),
        ("7767517\n2 2\nInput x 0 1 x 0=8\n", "tells 2 layers and has 1"),
        ("7767517\n1 1\nInput x 0 1\n", "lacks blobs"),
        ("7767517\n1 1\nReLU a 1 1 b b\n", "no input or no output"),
        ("7767517\none one\n", "cannot be read"),
    ],
)
def test_texts_that_are_no_model(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(ModelInvalid, match=why):
        ncnn_file.read(str(packed(tmp_path, text)))


def test_sizes_and_quantisation_from_the_text(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"")
    text = "7767517\n2 2\nInput x 0 1 x 0=6 1=5 2=3\nConvolution c 1 1 x y 0=8 1=3 6=216 8=2\n"
    facts, _, _ = ncnn_file.read(str(packed(tmp_path, text)))
    assert (facts.inputs, facts.outputs, facts.precision) == ([("x", (3, 5, 6))], ["y"], "int8")
