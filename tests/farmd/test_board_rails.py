"""Rails as the daemon lists them: totals of every Jetson under both kernels, names from the board catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farmd.rails import board_rails, rail_map_of
from farmd.sampling import RailSampler
from farmd.services.board import chosen_rails, to_message
from power.meters.board import BoardMeter, RailBlock
from power.rails import total_rails
from power.rails.jetson import JETSONS
from power.sim.common.clock import VirtualTime
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.jetson_ina3221 import SimulatedJetsonIna3221


@pytest.mark.parametrize("kernel", ["ina3221x", "ina3221"])
@pytest.mark.parametrize("module", [jetson.name for jetson in JETSONS])
def test_the_total_that_the_host_sees_of_a_jetson(module: str, kernel: Any) -> None:
    load = Load(Constant(10.0))
    with SimulatedJetsonIna3221(load, timebase=VirtualTime(), module=module, kernel=kernel) as simulator:
        rails = board_rails(simulator.root, "jetson-agx-orin")
        messages = [to_message(rail) for rail in rails]
        total = total_rails(messages)
        assert total == total_rails(rails)
        with RailSampler(chosen_rails(rails, total), 10_000_000) as sampler:
            batch = next(sampler.batches())
        power_w = {samples.rail: samples.power_w[0] for samples in batch.rails}
        assert sum(power_w.values()) == pytest.approx(10.0, rel=0.02)
        scope = SCOPES.get(module, "module")
        assert meter_scope(messages) == scope


SCOPES = {"TX2": "board", "AGX Thor": "board"}


class Silent:
    """A stream of one block."""

    def __iter__(self) -> Any:
        yield RailBlock("none", [0], [0.0])

    def close(self) -> None:
        """End."""


def meter_scope(messages: list[Any]) -> str:
    meter = BoardMeter("b", list_rails=lambda: messages, open_stream=lambda names, interval_s: Silent())
    with meter:
        return meter.capabilities.scope


def test_the_catalogue_names_the_rails_of_a_zynq(tmp_path: Path) -> None:
    found = rail_map_of("xilinx-zcu102")
    assert found is not None
    for number, chip in enumerate(found.sensors):
        place = tmp_path / f"sys/class/hwmon/hwmon{number}"
        place.mkdir(parents=True)
        for name, value in (
            ("name", chip),
            ("in2_input", 1000),
            ("curr1_input", 500),
            ("power1_input", 500_000),
        ):
            (place / name).write_text(f"{value}\n")
    messages = [to_message(rail) for rail in board_rails(tmp_path, "xilinx-zcu102")]
    assert set(total_rails(messages)) == set(found.total)
    assert len(messages) == 18
    assert meter_scope(messages) == "rail"
    unnamed = [to_message(rail) for rail in board_rails(tmp_path, "generic-aarch64")]
    assert total_rails(unnamed) == ()


def test_the_module_of_a_kria_is_its_supply(tmp_path: Path) -> None:
    place = tmp_path / "sys/class/hwmon/hwmon2"
    place.mkdir(parents=True)
    for name, value in (
        ("name", "ina260_u14"),
        ("in1_input", 5000),
        ("curr1_input", 900),
        ("power1_input", 4_500_000),
    ):
        (place / name).write_text(f"{value}\n")
    (rail,) = board_rails(tmp_path, "kria-k26")
    assert (rail.name, rail.scope, rail.is_total) == ("SOM_5V0", "module", True)


def test_a_board_that_the_catalogue_does_not_know() -> None:
    assert rail_map_of("homebrew-7") is None
    assert rail_map_of("raspberry-pi-4") is None
