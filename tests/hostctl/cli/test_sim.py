"""`hostctl sim`: what it prints leads to an instrument that measures what it says."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from power.catalogue import DRIVERS, make_meter
from tests.hostctl.farm import Hostctl


def begin(hostctl: Hostctl, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, object]]:
    """Start a simulated instrument; return its process and the settings it prints."""
    process = hostctl.start("sim", *arguments, "--json")
    assert process.stdout
    return process, json.loads(process.stdout.readline())


def test_it_measures_the_load_and_tells_the_truth(hostctl: Hostctl) -> None:
    process, settings = begin(hostctl, "yokogawa-wt310", "--load", "constant=4.5")
    try:
        driver = str(settings.pop("driver"))
        with make_meter("m", driver, {**settings, "current_range_a": 2.0, "voltage_range_v": 15.0}) as meter:
            assert meter.capabilities.kind == "simulated"
            meter.start()
            trace = meter.stop()
        assert trace.power_w is not None
        assert float(trace.power_w[0]) == pytest.approx(4.5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert re.search(r"The load drew [0-9.]+ J in [0-9.]+ s, 4.5 W in the mean", told)


def test_it_ends_by_itself_and_prints_an_inventory(hostctl: Hostctl) -> None:
    done = hostctl.run("sim", "yokogawa-wt310", "--load", "step=1,5,0.1", "--for", "300ms", "--seed", "3")
    assert done.returncode == 0, done.stderr
    hostctl.config.write_text(done.stdout)
    assert hostctl.run("meter", "list").returncode == 0
    assert "in the mean" in done.stderr


def test_the_list_holds_every_simulated_instrument(hostctl: Hostctl) -> None:
    lines = [json.loads(line) for line in hostctl.run("sim", "--json").stdout.splitlines()]
    assert {line["driver"] for line in lines} == {name for name, entry in DRIVERS.items() if entry.simulator}
    assert "square=LOW_W" in hostctl.run("sim").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("yokogawa-wt31",), "did you mean 'yokogawa-wt310'"),
        (("nvml",), "seen by its own process only"),
        (("estimate",), "There is no simulated instrument"),
        (("yokogawa-wt310", "--load", "sqare=1"), "did you mean square="),
        (("yokogawa-wt310", "--fault", "dely_s=1"), "did you mean 'delay_s'"),
        (("yokogawa-wt310", "--link", "x"), "has no serial port"),
        (("rdtech-um25c", "--link", "no/folder/x"), "The link 'no/folder/x' cannot be made (No such file"),
        (("rdtech-um25c", "--link", "."), "cannot be made (File exists)"),
        (("rapl", "--load", "square=2,6,0"), "HZ must be from"),
        (("yokogawa-wt310", "--supply", "-3"), "must be a finite number above 0"),
    ],
)
def test_mistakes_are_one_sentence(
    hostctl: Hostctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = hostctl.run("sim", *arguments, "--for", "10ms")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
