"""The marker line is high from the start of the window to its end, and low otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from targets import loop
from targets.errors import OptionInvalid
from targets.marker import VARIABLE, Marker, open_marker


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "value"
    path.write_text("1")
    return path


@pytest.mark.parametrize("slots", [1, 3])
def test_the_line_is_high_in_the_window_only(line: Path, slots: int) -> None:
    seen = []
    marker = Marker(str(line))
    assert line.read_text() == "0"
    loop.warm_up([lambda: seen.append(line.read_text())], loop.Limits(0, 1), [])
    calls = [lambda: seen.append(line.read_text())] * slots
    loop.measure(calls, loop.Limits(0, 6), [], 1e5, marker)
    assert line.read_text() == "0"
    marker.close()
    assert seen[0] == "0"
    assert set(seen[1:]) == {"1"}


def test_the_line_falls_when_the_loop_breaks(line: Path) -> None:
    def broken() -> None:
        raise RuntimeError("out of order")

    marker = Marker(str(line))
    with pytest.raises(RuntimeError):
        loop.measure([broken], loop.Limits(0, 1), [], 1e5, marker)
    assert line.read_text() == "0"


def test_without_the_variable_there_is_no_line() -> None:
    assert open_marker({}) is None


def test_a_line_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    environ: dict[str, Any] = {VARIABLE: str(tmp_path / "gpio17" / "value")}
    with pytest.raises(OptionInvalid, match=r"No such file.*farmd's user.*worker_env") as caught:
        open_marker(environ)
    assert caught.value.details["option"] == VARIABLE


def test_a_line_from_the_environment(line: Path) -> None:
    marker = open_marker({VARIABLE: str(line)})
    assert marker is not None
    marker.high()
    assert line.read_text() == "1"
    marker.close()
