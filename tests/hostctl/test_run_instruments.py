"""`hostctl run` with instruments: complete results, and what becomes of a run whose instrument fails."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from hostctl.cli.sim import _toml as toml
from power.catalogue import driver
from power.sim.common.base import Simulator
from power.sim.common.faults import Faults
from power.sim.common.load import Load, ProcessLoad
from power.sim.common.parse import machine_busy_s
from tests.hostctl.farm import BOARD_MOODS, Hostctl, codes, wait_until

BOARD_W, WALL_W = (2.0, 10.0), (20.0, 100.0)
"""Idle and with busy processors."""
INSTRUMENTS: dict[str, dict[str, Any]] = {
    "jetson-ina3221": {"shunt_tolerance": 0.01},
    "rapl": {"accuracy": {"gain": 0.02, "offset_w": 0.05}},
    "tegrastats": {"accuracy": {"gain": 0.01, "offset_w": 0.04}},
    "rdtech-um25c": {},
    "wattsup-pro": {},
    "tektronix-mdo4000": {
        "rate_hz": 10_000.0,
        "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
        "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.1},
    },
    "yokogawa-wt310": {"voltage_range_v": 15.0, "current_range_a": 2.0, "update_s": 0.1},
}
"""Driver → settings beside those that lead to its simulator."""
SECONDS = ("--duration", "7s", "--warmup", "100ms", "--idle", "6s")
"""For meters that read once a second."""
LONG_ENOUGH = ("--duration", "3s", "--warmup", "100ms", "--idle", "2s")


def levels_w(name: str) -> tuple[float, float]:
    """Return what suits an instrument."""
    return WALL_W if name == "wattsup-pro" else BOARD_W


@contextmanager
def simulated(name: str, *, faults: Faults | None = None) -> Iterator[Simulator]:
    """A simulated instrument that measures this machine's processors."""
    found = driver(name).simulated()
    power = ProcessLoad(machine_busy_s, idle_w=levels_w(name)[0], max_w=levels_w(name)[1])
    power.start()
    try:
        with found(Load(power, found.supply_v), faults=faults, seed=1) as simulator:
            yield simulator
    finally:
        power.stop()


def add_meter(hostctl: Hostctl, name: str, simulator: Simulator, settings: dict[str, Any]) -> None:
    """Write an instrument into the inventory."""
    values = {"driver": simulator.driver, "scope": "board", **simulator.options, **settings}
    with hostctl.config.open("a") as file:
        file.write(
            f"[meters.{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in values.items())
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(INSTRUMENTS))
def test_a_complete_valid_result(name: str, hostctl: Hostctl, board: str, model: Path) -> None:
    with simulated(name) as simulator:
        hostctl.add_device("bench", board, meter="m1")
        add_meter(hostctl, "m1", simulator, INSTRUMENTS[name])
        length = SECONDS if name == "wattsup-pro" else LONG_ENOUGH
        (result,) = hostctl.results("run", "--device", "bench", "--model", str(model), *length)
    assert not {"FAILED", "ENERGY_UNAVAILABLE", "CLIPPED_SAMPLES"} & codes(result), result["flags"]
    assert result["valid"] or codes(result) & (BOARD_MOODS | {"TRACE_GAPS"}), result["flags"]
    meter = result["meter"]
    assert (meter["name"], meter["driver"], meter["scope"], meter["kind"]) == (
        "m1",
        name,
        "board",
        "simulated",
    )
    assert "ENERGY_SIMULATED" in codes(result)
    for number in (result["power_w"], result["idle_power_w"], result["energy_per_inference_mj"]["gross"]):
        assert number["value"] > 0.0
        assert number["u"] > 0.0
    idle_w, max_w = levels_w(name)
    # Other tests load this machine too, so that idle may draw more than the run does; and specimens are off by what they may.
    for name in ("idle_power_w", "power_w"):
        slack_w = 0.2 * max_w + 2.0 * result[name]["u"]
        assert idle_w - slack_w < result[name]["value"] < max_w + slack_w


@pytest.mark.slow
def test_an_instrument_that_is_switched_off_in_mid_run(hostctl: Hostctl, board: str, model: Path) -> None:
    # Some 25 commands set it up, three make a reading.
    with simulated("yokogawa-wt310", faults=Faults(disconnect_after=60)) as simulator:
        hostctl.add_device("bench", board, meter="m1")
        add_meter(hostctl, "m1", simulator, INSTRUMENTS["yokogawa-wt310"])
        done = hostctl.run("run", "--device", "bench", "--model", str(model), *LONG_ENOUGH, "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (told,) = (json.loads(line) for line in done.stdout.splitlines())
    assert "check" in told["flags"][0]["message"]
    (kept,) = hostctl.stored()
    assert not kept["valid"]
    assert hostctl.leases() == []
    # What it had read up to then is kept.
    (trace,) = hostctl.home.rglob("power.parquet")
    assert pyarrow.parquet.read_metadata(trace).num_rows > 3


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_record(hostctl: Hostctl, board: str, model: Path) -> None:
    name = "tektronix-mdo4000"
    with simulated(name) as simulator:
        hostctl.add_device("bench", board, meter="m1")
        add_meter(hostctl, "m1", simulator, INSTRUMENTS[name])
        process = hostctl.start(
            "run", "--device", "bench", "--model", str(model), "--duration", "30s", "--idle", "2s"
        )
        wait_until(lambda: bool(hostctl.leases()), what="the lease")
        time.sleep(3.0)
        begin_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - begin_s < 15.0
    assert process.returncode == 130, errors
    (kept,) = hostctl.stored()
    assert "INTERRUPTED" in codes(kept)
    assert hostctl.leases() == []


@pytest.mark.slow
def test_an_edge_is_not_looked_for_where_no_channel_shows_it(
    hostctl: Hostctl, board: str, model: Path
) -> None:
    with simulated("yokogawa-wt310") as simulator:
        hostctl.add_device("bench", board, meter="m1")
        add_meter(hostctl, "m1", simulator, INSTRUMENTS["yokogawa-wt310"])
        done = hostctl.run("run", "--device", "bench", "--model", str(model), *LONG_ENOUGH, "--align", "edge")
    assert done.returncode in (1, 2)
    assert "its driver knows none; use --align clock or pattern" in done.stderr + done.stdout
    assert hostctl.leases() == []


def test_an_instrument_that_is_not_there(hostctl: Hostctl, board: str, model: Path) -> None:
    with simulated("yokogawa-wt310") as simulator:
        gone = dict(simulator.options)
    hostctl.add_device("bench", board, meter="m1")
    with hostctl.config.open("a") as file:
        file.write(f'[meters.m1]\ndriver = "yokogawa-wt310"\nresource = "{gone["resource"]}"\n')
    done = hostctl.run("run", "--device", "bench", "--model", str(model), *LONG_ENOUGH)
    assert done.returncode == 1
    assert "check that the instrument is on" in done.stderr + done.stdout
    assert hostctl.leases() == []


@pytest.mark.slow
def test_one_line_changes_the_meter(hostctl: Hostctl, board: str, model: Path) -> None:
    with simulated("yokogawa-wt310") as first, simulated("yokogawa-wt310") as second:
        hostctl.add_device("bench", board, meter="m1")
        add_meter(hostctl, "m1", first, INSTRUMENTS["yokogawa-wt310"])
        add_meter(hostctl, "m2", second, INSTRUMENTS["yokogawa-wt310"])
        short = ("--duration", "600ms", "--warmup", "0s", "--idle", "600ms")
        (one,) = hostctl.results("run", "--device", "bench", "--model", str(model), *short)
        hostctl.config.write_text(hostctl.config.read_text().replace('meter = "m1"', 'meter = "m2"'))
        (other,) = hostctl.results("run", "--device", "bench", "--model", str(model), *short)
    assert (one["meter"]["name"], other["meter"]["name"]) == ("m1", "m2")
