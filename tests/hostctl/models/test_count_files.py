"""Files that are no model, and shapes that do not fit: one sentence each, never a traceback."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from hostctl.errors import HostctlError, ModelFileError, UsageError
from hostctl.models.count import count_operations
from tests.hostctl.models.onnx_build import const, one, save, tensor, weight

Make = Callable[[Path], Path]


def matmul(path: Path, rows: int = 64) -> Path:
    return one(path, "MatMul", {"x": ["N", rows]}, [weight("w", rows, 64)])


def one_sentence(error: pytest.ExceptionInfo[HostctlError]) -> str:
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_a_count_is_the_model_object_of_a_result(tmp_path: Path) -> None:
    path = matmul(tmp_path / "small.onnx")
    shown = json.loads(json.dumps(count_operations(path).to_dict()))
    assert shown == {
        "name": "small",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "onnx",
        "params": 4096,
        "ops_per_inference": {"value": 8192, "convention": "mac2", "source": "counted"},
        "other_ops": {},
        "uncounted": [],
    }


def test_the_caller_may_name_the_model(tmp_path: Path) -> None:
    assert count_operations(matmul(tmp_path / "a1b2c3.onnx"), name="nice").name == "nice"


def test_a_file_without_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    path = matmul(tmp_path / "m.onnx").rename(tmp_path / "model")
    assert count_operations(path).format == "onnx"


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x00" * 4096, "not a valid model"),
        (b"<html>no model here</html>", "not a valid model"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, suffix: str, content: bytes, says: str) -> None:
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as error:
        count_operations(path)
    assert says in one_sentence(error)
    assert str(path) in str(error.value)


def test_other_formats_are_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "m.xml"
    path.write_text("<net/>")
    with pytest.raises(ModelFileError) as error:
        count_operations(path)
    assert "--ops" in one_sentence(error)


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model file"):
        count_operations(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="is a directory"):
        count_operations(tmp_path)


def test_every_truncation_of_an_onnx_file_is_refused(tmp_path: Path) -> None:
    content = matmul(tmp_path / "m.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for part in range(1, 32):
        cut.write_bytes(content[: len(content) * part // 32])
        with pytest.raises(ModelFileError) as error:
            count_operations(cut)
        one_sentence(error)


def test_a_file_above_two_gigabytes_is_refused(tmp_path: Path) -> None:
    for suffix in ("onnx", "tflite"):
        path = tmp_path / f"m.{suffix}"
        with path.open("wb") as file:
            file.truncate(2**31)
        with pytest.raises(ModelFileError, match="larger than 2 GB"):
            count_operations(path)


def test_a_dangling_name_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", [onnx.helper.make_node("Relu", ["ghost"], ["y"])], [tensor("x", [1])], ["y"]
    )
    with pytest.raises(ModelFileError, match="'ghost'"):
        count_operations(path)


def outside(path: Path) -> Path:
    model = onnx.load(matmul(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_weights_in_an_outside_file_count(tmp_path: Path) -> None:
    count = count_operations(outside(tmp_path / "m.onnx"))
    assert (count.macs, count.params) == (4096, 4096)


def test_a_missing_or_short_outside_file_is_refused(tmp_path: Path) -> None:
    path = outside(tmp_path / "m.onnx")
    weights = tmp_path / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelFileError) as error:
        count_operations(path)
    assert "too short" in one_sentence(error)
    weights.unlink()
    with pytest.raises(ModelFileError) as error:
        count_operations(path)
    assert "'weights.bin'" in one_sentence(error)


def test_small_outside_tensors_that_shapes_need_are_read(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Reshape", ["x", "shape"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [const("shape", [-1, 24], np.int64), weight("w", 24, 10)]
    path = save(tmp_path / "m.onnx", nodes, [tensor("x", ["N", 4, 6])], ["y"], weights)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert count_operations(path).macs == 240


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"X": [1, 64]}, "did you mean 'x'"),
        ({"x": [1, 65]}, "does not fit"),
        ({"x": [64]}, "2 dimensions"),
        ({"x": [0, 64]}, "above 0"),
    ],
)
def test_shapes_that_do_not_fit_are_wrong_usage(
    tmp_path: Path, shapes: dict[str, list[int]], says: str
) -> None:
    with pytest.raises(UsageError) as error:
        count_operations(matmul(tmp_path / "m.onnx"), shapes)
    assert says in one_sentence(error)
    assert error.value.exit_code == 2
