"""The zoo: every net has the operations it promises, the same bytes each time, and runs where it should."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from hostctl.errors import HostctlError, UsageError
from hostctl.models import zoo
from hostctl.models.count import count_operations
from hostctl.models.zoo import digits, store

LARGE = ("resnet50", "yolov4-416")
BATCHES = {"yolov4-416": (1, 2)}
ENTRIES = [
    pytest.param(entry, id=entry.name, marks=[pytest.mark.slow] if entry.name in LARGE else [])
    for entry in zoo.ENTRIES
]


def feed(path: Path, batch: int) -> dict[str, "np.ndarray[Any, Any]"]:
    """Random inputs of the given batch for the one input of a zoo model."""
    value = onnx.load(path).graph.input[0]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
    return {value.name: np.random.default_rng(1).random((batch, *shape), dtype=np.float32)}


def run_onnxruntime(path: Path, feeds: dict[str, Any]) -> list[Any]:
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return list(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feeds))


def run_openvino(path: Path, feeds: dict[str, Any]) -> list[Any]:
    ov = pytest.importorskip("openvino")
    compiled = ov.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    return list(compiled(feeds).values())


@pytest.mark.parametrize("entry", ENTRIES)
def test_counts_match_the_catalogue_and_both_runtimes_agree(entry: zoo.Entry, tmp_path: Path) -> None:
    path = zoo.build(entry.name, tmp_path)
    assert path.name == f"{entry.name}.onnx"
    count = count_operations(path)
    assert (count.macs, count.params) == (entry.macs, entry.params)
    assert count.uncounted == ()
    for batch in BATCHES.get(entry.name, (1, 8)):
        feeds = feed(path, batch)
        ours, theirs = run_onnxruntime(path, feeds), run_openvino(path, feeds)
        assert len(ours) == len(theirs) == (3 if entry.name == "yolov4-416" else 1)
        for left, right in zip(ours, theirs, strict=True):
            assert left.shape == right.shape
            assert left.shape[0] == batch
            assert np.isfinite(left).all()
            spread = float(np.abs(left).max())
            assert 1e-6 < spread < 1e4  # within float16 too
            tolerance = 0.1 if entry.name.endswith("int8") else 1e-4
            assert np.abs(left - right).max() <= tolerance * spread


PUBLISHED = {
    "resnet50": (3.858e9, None),
    "mobilenetv3-small": (56.5e6, 2.54e6),
    "yolov4-416": (30.052e9, 64.3e6),
    "think-ch1": (24, 33),
    "think-ch3": (25_450, 25_801),
    "think-ch4": (657_050, 658_951),
    "think-ch5": (156_050, 156_951),
    "digits-dscnn": (107_904, None),
    "digits-dscnn-int8": (107_904, None),
}


def test_the_catalogue_agrees_with_what_is_published() -> None:
    assert set(PUBLISHED) == set(zoo.names())
    for entry in zoo.ENTRIES:
        macs, params = PUBLISHED[entry.name]
        assert entry.macs == pytest.approx(macs, rel=1e-3)
        assert params is None or entry.params == pytest.approx(params, rel=2e-3)


@pytest.mark.parametrize("name", ["mobilenetv3-small", "think-ch1", "think-ch3", "digits-dscnn", "mlp-4-3-2"])
def test_the_same_name_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    digests = {
        hashlib.sha256(zoo.build(name, tmp_path / folder).read_bytes()).hexdigest()
        for folder in ("one", "two")
    }
    assert len(digests) == 1


def test_a_cached_file_is_not_built_again_unless_it_is_of_another_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zoo.build("think-ch1", tmp_path)
    stamp = path.stat().st_ino
    assert zoo.build("think-ch1", tmp_path).stat().st_ino == stamp
    assert zoo.build("think-ch1", tmp_path, force=True).stat().st_ino != stamp
    stamp = path.stat().st_ino
    monkeypatch.setattr(store, "REVISION", "2")
    assert zoo.build("think-ch1", tmp_path).stat().st_ino != stamp
    path.write_bytes(b"something else")
    assert onnx.load(zoo.build("think-ch1", tmp_path)).producer_name == store.PRODUCER


def test_aliases_and_layer_sizes_are_names_too(tmp_path: Path) -> None:
    assert zoo.build("mlp-2-8-1", tmp_path).name == "think-ch1.onnx"
    assert zoo.find("resnet50-v1").name == "resnet50"
    count = count_operations(zoo.build("mlp-2-1000-500-250-100-50-2", tmp_path))
    assert (count.macs, count.params) == (657_100, 659_002)


@pytest.mark.parametrize(
    ("name", "says"),
    [("resnet5", "did you mean 'resnet50'"), ("qqq", "the zoo has"), ("mlp-0-1", "did you mean")],
)
def test_an_unknown_name_is_wrong_usage(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        zoo.build(name, tmp_path)


def test_a_full_disk_leaves_one_sentence_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostctlError, match=r"^No space left for '.*think-ch1.onnx' \(0.0 MB\); .*\.$"):
        zoo.build("think-ch1", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostctlError, match=r"^Cannot write .*\.$"):
        zoo.build("think-ch1", tmp_path / "file" / "cache")


@pytest.mark.parametrize(("int8", "key"), [(False, "float32"), (True, "int8")])
@pytest.mark.parametrize("run", [run_onnxruntime, run_openvino])
def test_digits_are_recognised(int8: bool, key: str, run: Any, tmp_path: Path) -> None:
    """The test set is 360 images, so one standard error of the accuracy is 0.8 points."""
    images, labels = digits.test_set()
    assert images.shape == (360, 1, 8, 8)
    assert images.min() == 0.0
    assert images.max() == 1.0
    path = zoo.build("digits-dscnn-int8" if int8 else "digits-dscnn", tmp_path)
    scores = run(path, {digits.INPUT_NAME: images})[0]
    top1 = float((scores.argmax(axis=1) == labels).mean())
    measured = digits.accuracy()[key]["top1"]
    assert top1 == pytest.approx(measured, abs=0.015)
    assert top1 >= 0.95


def test_the_int8_model_is_smaller_and_quantised() -> None:
    operators = [node.op_type for node in onnx.load_from_string(digits.model_bytes(int8=True)).graph.node]
    assert operators.count("QuantizeLinear") > 5
    assert len(digits.model_bytes(int8=True)) < len(digits.model_bytes())
