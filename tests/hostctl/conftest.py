"""Fixtures of hostctl's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostctl.farm import Hostctl, serve_board, small_model


@pytest.fixture
def hostctl(tmp_path: Path) -> Hostctl:
    """The command line with an empty home and no device but `local`."""
    home = tmp_path / "home"
    home.mkdir()
    return Hostctl(home)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ONNX model with an open batch."""
    return small_model(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a board that the tests of a module share."""
    with serve_board(tmp_path_factory.mktemp("board")) as (address, _):
        yield address
