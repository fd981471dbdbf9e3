"""What Hailo modules measure of themselves, published by a process of its own under the oldest interpreter there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from power.rails import read
from power.rails.hwmon import find
from tests.targets.helpers import ROOT
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import FAKES
from tests.waiting import wait_until

END_S = 60.0
TWO = [{"id": "0000:01:00.0"}, {"id": "0000:02:00.0"}]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "targets").symlink_to(ROOT / "targets")
    return tmp_path


@contextmanager
def publishing(place: Path, *options: str, **fake: Any) -> Iterator[subprocess.Popen[str]]:
    """Publish into `place`; the fake notes in its file `protection` whether that is on."""
    path = os.pathsep.join(map(str, (place, FAKES, FAKES / "hailort")))
    told = json.dumps({"protection": str(place / "protection"), **fake})
    process = subprocess.Popen(
        [oldest(), "-m", "targets.sensors", "hailort", str(place), *options],
        env={"PATH": os.defpath, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "WATTFARM_FAKE": told},
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def shown(place: Path, chip: int = 0) -> dict[str, str]:
    """Return what the files of a chip hold; nothing if it is not there."""
    folder = place / "sys/class/hwmon" / f"hwmon{chip}"
    files = list(folder.glob("[!.]*")) if folder.is_dir() else []
    return {file.name: file.read_text().strip() for file in files}


def wait_for(place: Path, file: str, chip: int = 0) -> dict[str, str]:
    path = place / "sys/class/hwmon" / f"hwmon{chip}" / file
    wait_until(path.exists, END_S, f"{path}")
    return shown(place, chip)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Close its standard input, and return the exit code and what it said."""
    _, said = process.communicate(timeout=END_S)
    return process.returncode, said


def test_power_and_temperatures_until_the_input_closes(place: Path) -> None:
    with publishing(place, "--power") as process:
        files = wait_for(place, "power1_average")
        assert files == {
            "name": "hailo", "update_interval": "1126", "temp1_label": "ts0", "temp1_input": "51250",
            "temp2_label": "ts1", "temp2_input": "52500", "power1_label": "module", "power1_average": "2500000",
        }  # fmt: skip
        (rail,) = find(place)
        assert (rail.name, rail.reading) == ("module", "average")
        assert read(rail).power_w == 2.5
        assert (place / "protection").read_text() == "off"
        assert ended(process) == (0, "")
    assert shown(place) == {}
    assert (place / "protection").read_text() == "on"


def test_temperature_alone_measures_no_power_and_ends_on_sigterm(place: Path) -> None:
    with publishing(place, devices=TWO) as process:
        names = [wait_for(place, "temp2_input", chip)["name"] for chip in (0, 1)]
        assert names == ["hailo-0000:01:00.0", "hailo-0000:02:00.0"]
        assert find(place) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0
    assert shown(place, 0) == shown(place, 1) == {}
    assert not (place / "protection").exists()


def test_a_module_without_current_monitor_tells_its_temperature(place: Path) -> None:
    with publishing(place, "--power", monitor=False) as process:
        files = wait_for(place, "temp1_input")
        assert not [name for name in files if name.startswith("power")]
        code, said = ended(process)
    assert code == 0
    assert "'hailo' does not measure its power (libhailort control operation failed)" in said


def test_a_module_that_goes_is_withdrawn_and_its_measurement_stopped(place: Path) -> None:
    with publishing(place, "--power", fault="status", status=62, at="temperature", after=1) as process:
        assert process.wait(END_S) == 1
        assert process.stderr is not None
        said = process.stderr.read()
    assert "'hailo' is gone (Communication closed failure" in said
    assert shown(place) == {}
    assert (place / "protection").read_text() == "on"


@pytest.mark.slow
def test_one_of_two_modules_that_goes_leaves_the_other(place: Path) -> None:
    broken = {"fault": "status", "status": 36, "at": "power", "after": 1}
    with publishing(place, "--power", devices=TWO, **broken) as process:
        assert process.wait(END_S) == 1  # the fault hits the second first, and the other in the next round
        assert process.stderr is not None
        said = process.stderr.read()
    assert said.index("0000:02:00.0' is gone") < said.index("0000:01:00.0' is gone")


@pytest.mark.slow
def test_a_measurement_that_cannot_be_stopped_is_told(place: Path) -> None:
    with publishing(place, "--power", fault="status", status=4, at="stop", after=1) as process:
        wait_for(place, "power1_average")
        code, said = ended(process)
    assert code == 0
    assert "cannot be stopped" in said
    assert "hailortcli measure-power --duration 1" in said
    assert shown(place) == {}


def test_what_is_missing_is_told(place: Path) -> None:
    with publishing(place, devices=[]) as process:
        code, said = ended(process)
    assert (code, said.count("\n")) == (1, 1)
    assert "finds no device" in said
    (place / "sys/class/hwmon/hwmon0").mkdir(parents=True)
    with publishing(place) as process:
        assert process.wait(END_S) == 1
        assert process.stderr is not None
        assert "cannot be published" in process.stderr.read()
    assert (place / "sys/class/hwmon/hwmon0").is_dir()  # somebody else's


@pytest.mark.slow
def test_a_call_that_hangs_leaves_no_stale_values(place: Path) -> None:
    with publishing(place, "--power", fault="hang", at="temperature", after=1) as process:
        wait_for(place, "power1_average")
        assert process.wait(END_S) == 1
        assert process.stderr is not None
        assert "hangs" in process.stderr.read()
    assert shown(place) == {}
    assert (place / "protection").read_text() == "on"
