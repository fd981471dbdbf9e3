"""`hostctl run` against an instrument that sees the board's processes: alignment by pattern, idle states, rules, budget."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from power.align.pattern import LEAST_PEAK
from power.sim.common.load import Load, ProcessLoad
from power.sim.yokogawa_wt310 import SimulatedWt310
from tests.hostctl.farm import QUICK, Hostctl, codes, serve_board

IDLE_W, BUSY_W = 2.0, 10.0
"""Without work, and with one processor kept busy."""
UPDATE_S = 0.1
SETTINGS = f"voltage_range_v = 15.0\ncurrent_range_a = 2.0\nupdate_s = {UPDATE_S}\n"


def tree_busy_s(root: int) -> float:
    """Return the processor time of a process and of everything below it."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid, time_s in used.items():
        above: int | None = pid
        while above is not None and above != root:
            above = parents.get(above)
        total += time_s if above == root else 0.0
    return total


class Tree:
    """Processor time that never goes back, also when a worker ends."""

    def __init__(self, root: int) -> None:
        self._root, self._last_s, self._sum_s = root, tree_busy_s(root), 0.0

    def __call__(self) -> float:
        now_s = tree_busy_s(self._root)
        self._sum_s += max(0.0, now_s - self._last_s)
        self._last_s = now_s
        return self._sum_s


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, SimulatedWt310]]:
    """A board and an analyser that measures its processes."""
    with serve_board(tmp_path_factory.mktemp("board")) as (address, process):
        power = ProcessLoad(Tree(process.pid), idle_w=IDLE_W, max_w=BUSY_W, interval_s=0.02)
        power.start()
        try:
            with SimulatedWt310(Load(power, 12.0), seed=1) as simulator:
                yield address, simulator
        finally:
            power.stop()


def add(hostctl: Hostctl, bench: tuple[str, SimulatedWt310], more: str = "") -> None:
    address, simulator = bench
    hostctl.add_device("bench", address, meter="wt")
    resource = simulator.options["resource"]
    with hostctl.config.open("a") as file:
        file.write(f'[meters.wt]\ndriver = "yokogawa-wt310"\nresource = "{resource}"\n{SETTINGS}{more}')


def measured(hostctl: Hostctl, model: Path, *options: str) -> dict[str, Any]:
    done = hostctl.run("run", "--device", "bench", "--model", str(model), "--json", *options)
    assert "Traceback" not in done.stderr
    (result,) = (json.loads(line) for line in done.stdout.splitlines())
    found: dict[str, Any] = result
    return found


@pytest.mark.slow
def test_a_pattern_places_the_window(
    hostctl: Hostctl, bench: tuple[str, SimulatedWt310], model: Path
) -> None:
    """The meter's times are told to be a second late, which they are not: the pattern finds the window all the same."""
    add(hostctl, bench, "latency_s = 1.0\nlatency_u_s = 0.5\n")
    result = measured(
        hostctl, model, "--duration", "3s", "--warmup", "200ms", "--idle", "2s", "--align", "pattern"
    )
    assert "FAILED" not in codes(result), result["flags"]
    clock = result["environment"]["clock"]
    assert clock["method"] == "pattern"
    assert clock["quality"]["peak"] >= LEAST_PEAK
    assert clock["shift_s"] == pytest.approx(-1.0, abs=3 * UPDATE_S)
    assert clock["bound_s"] < 10 * UPDATE_S
    assert result["idle_power_w"]["value"] == pytest.approx(IDLE_W, rel=0.6)
    assert result["power_w"]["value"] > 1.1 * IDLE_W  # the less, the more others work on this machine


@pytest.mark.slow
def test_idle_states_and_a_budget(hostctl: Hostctl, bench: tuple[str, SimulatedWt310], model: Path) -> None:
    add(hostctl, bench)
    with hostctl.config.open("a") as file:
        file.write(
            '[devices.bench.idle_states]\noff = {power_w = 0.2, u_w = 0.01, description = "standby"}\n'
        )
    options = ("--duration", "1s", "--warmup", "0s", "--idle", "1s", "--idle-model", "after")
    result = measured(
        hostctl, model, *options, "--idle-state", "unconfigured", "--idle-state", "booted=2.5±0.1"
    )
    assert "FAILED" not in codes(result), result["flags"]
    idle = result["environment"]["idle"]
    assert idle["model"] == "after"
    assert list(idle["states"]) == ["loaded", "off", "unconfigured", "booted"]
    assert idle["states"]["unconfigured"]["value"] == pytest.approx(IDLE_W, rel=0.6)
    assert idle["states"]["off"]["description"] == "standby"
    assert set(idle["conditions"]) == {"unconfigured", "before", "after"}
    assert result["meter"]["identity"]["model"] == "WT310E"
    shown = hostctl.run("results", "show", result["id"], "--budget")
    assert shown.returncode == 0
    assert "net energy per inference" in shown.stdout
    assert "k = 2" in shown.stdout
    assert json.loads(hostctl.run("results", "show", result["id"], "--budget", "--json").stdout)["k"] == 2.0


@pytest.mark.slow
def test_the_rules_of_mlperf_range_first(
    hostctl: Hostctl, bench: tuple[str, SimulatedWt310], model: Path
) -> None:
    address, simulator = bench
    hostctl.add_device("bench", address, meter="wt")
    with hostctl.config.open("a") as file:
        file.write(
            f'[meters.wt]\ndriver = "yokogawa-wt310"\nresource = "{simulator.options["resource"]}"\nupdate_s = 0.1\n'
        )
    result = measured(
        hostctl,
        model,
        "--duration",
        "1s",
        "--warmup",
        "0s",
        "--idle",
        "500ms",
        "--settle",
        "100ms",
        "--rules",
        "mlperf",
    )
    assert "FAILED" not in codes(result), result["flags"]
    assert {"MLPERF_TOO_SHORT", "MLPERF_SETTLING"} <= codes(result)
    assert not {"MLPERF_NOT_RANGED", "MLPERF_RANGE_CHANGED"} & codes(result)
    assert not result["valid"]
    ranging = result["environment"]["rules"]["ranging"]
    assert ranging["power_w"] > IDLE_W
    assert ranging["range_text"] == result["meter"]["range"]


@pytest.mark.slow
def test_a_fixed_idle_power_needs_no_window(
    hostctl: Hostctl, bench: tuple[str, SimulatedWt310], model: Path
) -> None:
    add(hostctl, bench)
    result = measured(
        hostctl,
        model,
        "--duration",
        "1s",
        "--warmup",
        "0s",
        "--idle-model",
        "fixed",
        "--idle-w",
        "2.0",
        "--idle-u",
        "0.1",
    )
    assert result["idle_power_w"] == {"value": 2.0, "u": 0.1, "model": "fixed"}
    assert result["energy_per_inference_mj"]["net"]["value"] > 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--idle-model", "fixed"), "belong together"),
        (("--idle-state", "a", "--idle-state", "b"), "Only one idle state"),
        (("--idle-state", "a=x"), "'x' is no number"),
    ],
)
def test_what_is_refused_before_anything_starts(
    hostctl: Hostctl, bench: tuple[str, SimulatedWt310], model: Path, options: tuple[str, ...], words: str
) -> None:
    add(hostctl, bench)
    done = hostctl.run("run", "--device", "bench", "--model", str(model), *QUICK, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert hostctl.stored() == []


@pytest.mark.slow
def test_the_board_raises_its_marker_line(hostctl: Hostctl, model: Path, tmp_path: Path) -> None:
    """A file stands for the GPIO; what an instrument makes of it is tested where traces are (tests/power)."""
    line = tmp_path / "value"
    line.write_text("1")
    environment = {"WATTFARM_RUNNERS": "faulty=wattfarm_faulty:FaultyRunner", "WATTFARM_MARKER": str(line)}
    with serve_board(tmp_path / "farmd", worker_env=environment) as (address, _):
        hostctl.add_device("bench", address)
        result = measured(hostctl, model, *QUICK, "--meter", "none")
        assert "FAILED" not in codes(result)
        assert line.read_text() == "0"
        line.unlink()
        result = measured(hostctl, model, *QUICK, "--meter", "none")
    (why,) = [flag["message"] for flag in result["flags"] if flag["code"] == "FAILED"]
    assert "cannot be set (No such file or directory); let farmd's user write it" in why


def test_an_estimate_has_no_pattern(hostctl: Hostctl, bench: tuple[str, SimulatedWt310], model: Path) -> None:
    hostctl.add_device("bench", bench[0])
    result = measured(hostctl, model, *QUICK, "--meter", "estimate", "--align", "pattern")
    (why,) = [flag["message"] for flag in result["flags"] if flag["code"] == "FAILED"]
    assert "needs a meter that samples by itself" in why
