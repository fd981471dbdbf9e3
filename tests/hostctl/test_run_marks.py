"""`hostctl run` in a process of its own, a board, and instruments that see the marks it makes: a GPIO's edges, a pattern.

Board, host and instrument are processes of one machine with one monotonic clock, so the truth about edges is known.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hostctl.cli.sim import _toml as toml
from power.catalogue import driver
from power.sim.common.line import MarkerLine
from power.sim.common.load import Load, ProcessLoad
from power.sim.common.parse import ProcessTime
from tests.hostctl.cli.test_sim import begin
from tests.hostctl.farm import Hostctl, codes, serve_board

LATE_S = 0.02
"""A shared test machine may let a process wait for its processor that long; nothing in a bound can know it."""
SCOPE: dict[str, Any] = {
    "rate_hz": 10_000.0,
    "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
    "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.1},
}
SHORT = ("--duration", "2s", "--warmup", "100ms", "--idle", "1s", "--settle", "200ms")


@dataclass(frozen=True)
class Seen:
    """What a run left behind: its result, its window on the trace's clock and on the board's, and the trace's own bound."""

    result: dict[str, Any]
    window_s: tuple[float, float]
    truth_s: tuple[float, float]
    trace_bound_s: float

    @property
    def off_s(self) -> float:
        """How far the worse edge is off."""
        return max(abs(found - true) for found, true in zip(self.window_s, self.truth_s, strict=True))


def measured(hostctl: Hostctl, model: Path, *options: str) -> Seen:
    """Run hostctl in a process of its own."""
    done = hostctl.spawn("run", "--device", "bench", "--model", str(model), "--json", *options, timeout_s=120)
    assert "Traceback" not in done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert not {"FAILED", "ALIGNED_BY_CLOCK"} & codes(result), result["flags"]
    (folder,) = hostctl.home.rglob(f"runs/{result['id']}")
    facts = pq.read_schema(folder / "power.parquet").metadata
    requests = pq.read_table(folder / "requests.parquet")
    (window,) = [json.loads(facts[b"windows"])["run"]]
    return Seen(
        result,
        (window[0], window[1]),
        (requests["start_ns"][0].as_py() / 1e9, requests["end_ns"].to_pylist()[-1] / 1e9),
        json.loads(facts[b"trace"])["clock_bound_s"],
    )


def add_meter(hostctl: Hostctl, settings: dict[str, Any]) -> None:
    lines = [f"{key} = {toml(value)}\n" for key, value in settings.items()]
    with hostctl.config.open("a") as file:
        file.write("[meters.m1]\n" + "".join(lines))


@contextmanager
def marked_board(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """A board with a marker line: its address, its process and the file that stands for the GPIO."""
    gpio = folder / "value"
    gpio.write_text("0")
    environment = {"WATTFARM_RUNNERS": "faulty=wattfarm_faulty:FaultyRunner", "WATTFARM_MARKER": str(gpio)}
    with serve_board(folder / "farmd", worker_env=environment) as (address, process):
        yield address, process.pid, gpio


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings", "supply_v", "watts"),
    [
        ("tektronix-mdo4000", {**SCOPE, "marker": {"channel": 4, "level_v": 1.65}}, 5.0, (2.0, 10.0)),
        ("nordic-ppk2", {"mode": "source", "supply_v": 5.0, "marker": 0}, 5.0, (0.5, 4.0)),
    ],
)
def test_the_marker_line_places_the_window(
    name: str,
    settings: dict[str, Any],
    supply_v: float,
    watts: tuple[float, float],
    hostctl: Hostctl,
    model: Path,
    tmp_path: Path,
) -> None:
    with marked_board(tmp_path) as (address, pid, gpio):
        power = ProcessLoad(ProcessTime(pid), idle_w=watts[0], max_w=watts[1])
        line = MarkerLine(gpio)
        power.start()
        line.start()
        try:
            with driver(name).simulated()(Load(power, supply_v, line), seed=1) as simulator:
                assert simulator.options["marker"] == settings["marker"]
                hostctl.add_device("bench", address, meter="m1")
                add_meter(hostctl, {"driver": name, **simulator.options, **settings, "scope": "board"})
                seen = measured(hostctl, model, "--align", "edge", *SHORT)
        finally:
            line.stop()
            power.stop()
    clock = seen.result["environment"]["clock"]
    assert clock["method"] == "edge"
    assert clock["residual_s"] is not None
    # No more than half a sample, half of the line's 200 µs, and what two short round trips leave of the drift.
    assert clock["bound_s"] < 1e-2
    rise_s, fall_s = line.changes_s[-2:]
    assert abs(clock["residual_s"] - abs((fall_s - rise_s) - (seen.truth_s[1] - seen.truth_s[0]))) < LATE_S
    assert seen.off_s <= clock["bound_s"] + seen.trace_bound_s + line.blind_s + _late_s(line, seen)
    assert abs(clock["shift_s"]) <= clock["bound_s"] + seen.trace_bound_s + LATE_S
    assert seen.result["energy_per_inference_mj"]["net"]["value"] is not None


def _late_s(line: MarkerLine, seen: Seen) -> float:
    """How late the board was with its line, beyond the 200 µs that the bound allows for: what the scheduler made of it."""
    rise_s = line.changes_s[-2]
    return max(0.0, seen.truth_s[0] - rise_s - 200e-6, rise_s - seen.truth_s[0] - 200e-6)


def test_a_simulated_scope_takes_the_line_from_a_file(hostctl: Hostctl, tmp_path: Path) -> None:
    gpio = tmp_path / "value"
    done = hostctl.run("sim", "tektronix-mdo4000", "--marker", str(gpio), "--for", "100ms")
    assert done.returncode != 0
    assert "cannot be read (No such file or directory); make that file" in done.stderr
    gpio.write_text("0")
    done = hostctl.run("sim", "yokogawa-wt310", "--marker", str(gpio), "--for", "100ms")
    assert done.returncode == 2
    assert "has no spare channel" in done.stderr
    done = hostctl.run("sim", "nordic-ppk2", "--marker", str(gpio), "--for", "100ms", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["marker"] == 0


UPDATE_S = 0.1


@pytest.mark.slow
def test_a_pattern_in_processor_time_places_the_window(hostctl: Hostctl, model: Path, tmp_path: Path) -> None:
    """hostctl sim follows farmd and the workers that it starts; each of the three is a process of its own."""
    with serve_board(tmp_path / "farmd") as (address, board):
        load = f"cpu=2,18,{board.pid}"
        process, settings = begin(hostctl, "yokogawa-wt310", "--load", load, "--seed", "1")
        try:
            hostctl.add_device("bench", address, meter="m1")
            ranges = {"voltage_range_v": 15.0, "current_range_a": 5.0, "update_s": UPDATE_S}
            add_meter(hostctl, {**settings, **ranges})
            seen = measured(hostctl, model, "--align", "pattern", *SHORT)
        finally:
            process.terminate()
            _ended(process)
    clock = seen.result["environment"]["clock"]
    assert clock["method"] == "pattern"
    assert clock["quality"]["peak"] > 0.6
    assert clock["residual_s"] < 2.0 * UPDATE_S
    assert clock["bound_s"] >= 2.0 * UPDATE_S
    assert seen.off_s <= 2.0 * UPDATE_S
    assert seen.result["idle_power_w"]["value"] < 0.9 * seen.result["power_w"]["value"]


def _ended(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=10.0)
    finally:
        process.kill()
        process.wait()
