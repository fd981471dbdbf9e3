"""`hostctl meter latency`: a simulated analyser whose times are late by a known time, and a program that switches its load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hostctl.cli.sim import _toml as toml
from power.sim.common.faults import Faults
from power.sim.common.line import MarkerLine
from power.sim.common.load import Load
from power.sim.common.waveforms import Waveform
from power.sim.yokogawa_wt310 import SimulatedWt310
from power.trace import Floats
from tests.hostctl.farm import Hostctl

HIGH_W = 1.0
UPDATE_S = 0.1
QUICK = ("--loads", "0,1", "--steps", "4", "--every", "800ms")

SLOWER = ("--loads", "0,1", "--steps", "4", "--every", "1500ms")


@dataclass(frozen=True)
class Switched(Waveform):
    """0 W or HIGH_W, as a line said `late_s` ago: what stands between the load and the meter."""

    line: MarkerLine
    late_s: float

    def power_w(self, t_s: Floats) -> Floats:
        """Return the level at each time."""
        return np.where(self.line.levels(t_s - self.late_s), np.float64(HIGH_W), np.float64(0.0))

    def integral_j(self, t_s: Floats) -> Floats:
        """Return the energy since the first change."""
        changes_s = np.array([*self.line.changes_s, np.inf]) + self.late_s
        energy_j = np.zeros(len(t_s))
        for start_s, end_s in zip(changes_s[0::2], changes_s[1::2], strict=False):
            energy_j += HIGH_W * np.clip(np.minimum(t_s, end_s) - start_s, 0.0, None)
        return energy_j


@contextmanager
def bench(hostctl: Hostctl, *, late_s: float = 0.0) -> Iterator[str]:
    """An analyser 'm1' in farm.toml; yields the program that switches its load."""
    switch = hostctl.home / "switch"
    switch.write_text("0")
    program = hostctl.home / "set_load.sh"
    program.write_text(f'printf %s "$1" > {switch}\n')
    line = MarkerLine(switch)
    line.start()
    try:
        load = Load(Switched(line, late_s), 5.0)
        with SimulatedWt310(load, faults=Faults(noise_w=0.001), seed=1) as simulator:
            settings = {"voltage_range_v": 15.0, "current_range_a": 0.5, "update_s": UPDATE_S}
            values = {"driver": "yokogawa-wt310", **simulator.options, **settings}
            lines = "".join(f"{key} = {toml(value)}\n" for key, value in values.items())
            hostctl.config.write_text(f"[meters.m1]\n{lines}")
            yield f"sh {program}"
    finally:
        line.stop()


@pytest.mark.slow
def test_a_known_delay_is_found(hostctl: Hostctl) -> None:
    with bench(hostctl, late_s=0.3) as program:
        done = hostctl.run("meter", "latency", "m1", "--set-load", program, *SLOWER, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["steps"] == 4
    # The instrument's own delay is below half an update; the program's own time is in the uncertainty.
    assert told["latency_s"] == pytest.approx(0.3, abs=0.5 * UPDATE_S + 2.0 * told["latency_u_s"])
    assert told["scatter_s"] < UPDATE_S
    assert told["latency_u_s"] >= 0.5 * told["command_s"] / 3**0.5


@pytest.mark.slow
def test_it_says_what_to_write(hostctl: Hostctl, tmp_path: Path) -> None:
    with bench(hostctl) as program:
        done = hostctl.run("meter", "latency", "m1", "--set-load", program, *QUICK)
        assert done.returncode == 0, done.stderr
        assert "'m1' is " in done.stdout
        assert "(k = 2); its 4 steps scatter by" in done.stdout
        advice = done.stdout.split("Write under [meters.m1]:\n")[1]
        with hostctl.config.open("a") as file:
            file.write(advice)
        assert hostctl.run("meter", "list").returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--loads", "1"), "give two different ones"),
        (("--loads", "1,1"), "names something twice"),
        (("--loads", "0,1", "--every", "100ms"), "reads each 0.1 s, too seldom"),
        (("--loads", "0,1", "--steps", "3"), "3 is not in the range 4<=x"),
    ],
)
def test_what_is_refused(hostctl: Hostctl, options: tuple[str, ...], words: str) -> None:
    with bench(hostctl) as program:
        done = hostctl.run("meter", "latency", "m1", "--set-load", program, *options)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.slow
def test_a_load_that_does_not_change(hostctl: Hostctl) -> None:
    with bench(hostctl):
        done = hostctl.run("meter", "latency", "m1", "--set-load", "true", *QUICK)
    assert done.returncode == 1
    assert "does not stand out" in done.stderr
