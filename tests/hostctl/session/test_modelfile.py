"""The file that goes to the board."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from hostctl.errors import ModelFileError
from hostctl.session.modelchoice import ModelChoice
from hostctl.session.modelfile import sendable_file


def test_a_single_file_goes_as_it_is(model: Path) -> None:
    with sendable_file(ModelChoice(model, "onnx")) as path:
        assert path == model


def test_two_files_travel_as_one_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("<net/>")
    (tmp_path / "net.bin").write_bytes(bytes(range(256)))
    choice = ModelChoice(tmp_path / "net.xml", "openvino")
    with sendable_file(choice) as path:
        first = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["model.xml", "model.bin"]
            assert archive.read("model.bin") == bytes(range(256))
    assert not path.exists()
    with sendable_file(choice) as path:
        assert path.read_bytes() == first


def test_missing_weights_are_told(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_text("<net/>")
    with (
        pytest.raises(ModelFileError, match=r"net\.bin"),
        sendable_file(ModelChoice(tmp_path / "net.xml", "openvino")),
    ):
        pass
