"""Modules that measure themselves: a real farmd starts the process that reads them, and that ends in order whoever dies."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub

from farmd import launch
from farmd.config import Config
from farmd.rails import module_rails
from farmd.sensors import Sensors
from power.rails import discover, total_rails
from tests.farmd.boards import ina, write
from tests.serving import device_service, log_of, reason_of, serve_farmd
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import FAKES
from tests.waiting import alive, wait_until

WAIT_S = 60.0
MODULE = "hailo/module"


class Board(NamedTuple):
    """A farmd with an INA226 of the board's own and a fake Hailo module."""

    directory: Path
    service: DeviceServiceStub
    pid: int

    def rails(self) -> dict[str, Any]:
        return {rail.name: rail for rail in self.service.ListRails(pb.ListRailsRequest()).rails}

    def temperatures(self) -> dict[str, float]:
        stats = self.service.Stats(pb.StatsRequest()).stats
        return {each.name: each.celsius for each in stats.temperatures}

    @property
    def protection(self) -> str:
        """What the fake last did to its overcurrent protection."""
        path = self.directory / "protection"
        return path.read_text() if path.exists() else ""

    def publisher(self) -> int:
        """Return the process that publishes, a child of farmd."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == self.pid and b"targets.sensors" in words:
                return int(path.name)
        raise AssertionError("nobody publishes")


@contextmanager
def board(tmp_path: Path, measured: str, **fake: Any) -> Iterator[Board]:
    ina(tmp_path / "root")
    told = json.dumps({"protection": str(tmp_path / "protection"), **fake})
    with (
        serve_farmd(
            tmp_path,
            system_root=tmp_path / "root",
            extra_worker_paths=[FAKES, FAKES / "hailort"],
            interpreters={"hailort": oldest()},
            worker_env={"WATTFARM_FAKE": told},
            sensors={"hailort": measured},
        ) as (address, process),
        device_service(address) as service,
    ):
        yield Board(tmp_path, service, process.pid)


@pytest.mark.slow
def test_a_module_measures_itself_until_the_daemon_ends(tmp_path: Path) -> None:
    with board(tmp_path, "power") as served:
        wait_until(lambda: MODULE in served.rails(), WAIT_S, MODULE)
        rails = served.rails()
        rail = rails[MODULE]
        assert (rail.driver, rail.reading, rail.scope, rail.is_total) == (
            "sensors",
            "average",
            "module",
            False,
        )
        assert rail.rate_hz == pytest.approx(1 / 1.126)
        assert total_rails(list(rails.values())) == ("VIN",)
        temperatures = served.temperatures()
        assert (temperatures["hailo/ts0"], temperatures["hailo/ts1"]) == (51.25, 52.5)
        power = served.service.Power(pb.PowerRequest(rails=[MODULE]))
        assert next(power).rails[0].power_w[0] == 2.5
        power.cancel()
        publisher = served.publisher()
        assert served.protection == "off"
    assert not alive(publisher)
    assert served.protection == "on"
    assert "are gone" not in log_of(tmp_path)


@pytest.mark.slow
def test_a_publisher_that_is_killed_takes_its_rail_along(tmp_path: Path) -> None:
    with board(tmp_path, "power") as served:
        wait_until(lambda: MODULE in served.rails(), WAIT_S, MODULE)
        power = served.service.Power(pb.PowerRequest(rails=[MODULE]))
        next(power)
        os.kill(served.publisher(), signal.SIGKILL)
        with pytest.raises(grpc.RpcError) as caught:
            for _ in power:
                pass
        assert reason_of(caught.value) == "RAIL_LOST"
        wait_until(lambda: MODULE not in served.rails(), WAIT_S, "its end")
        assert "hailo/ts0" not in served.temperatures()
        warning = "WARNING farmd: The sensors of 'hailort' are gone: their process was killed by SIGKILL."
        wait_until(lambda: warning in log_of(tmp_path), WAIT_S, warning)


@pytest.mark.slow
def test_a_daemon_that_is_killed_leaves_no_measurement_running(tmp_path: Path) -> None:
    with board(tmp_path, "power") as served:
        wait_until(lambda: MODULE in served.rails(), WAIT_S, MODULE)
        publisher = served.publisher()
        command = Path(f"/proc/{publisher}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        source = re.search(r"-m targets\.sensors hailort (\S+)", command)
        assert served.protection == "off"
        os.kill(served.pid, signal.SIGKILL)
        wait_until(lambda: not alive(publisher), WAIT_S, "the publisher's end")
    assert served.protection == "on"
    assert source is not None
    assert discover(Path(source[1])) == []


@pytest.mark.slow
def test_temperature_alone_leaves_the_protection_as_it_is(tmp_path: Path) -> None:
    with board(tmp_path, "temperature", fault="status", status=36, at="temperature", after=3) as served:
        wait_until(lambda: "hailo/ts1" in served.temperatures(), WAIT_S, "a temperature")
        assert MODULE not in served.rails()
        wait_until(
            lambda: "are gone: their process ended with exit code 1" in log_of(tmp_path), WAIT_S, "the end"
        )
        assert "hailo/ts1" not in served.temperatures()
    assert "The Hailo module 'hailo' is gone" in log_of(tmp_path)
    assert served.protection == ""


def test_a_modules_rail_is_never_the_boards_total(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    files: dict[str, str | int] = {
        "name": "hailo",
        "power1_label": "module",
        "power1_average": 2_500_000,
        "update_interval": 1126,
    }
    write(tmp_path, {f"{chip}/{name}": content for name, content in files.items()})
    (rail,) = module_rails(tmp_path)
    assert (rail.name, rail.scope, rail.is_total, rail.unreadable_reason) == (MODULE, "module", False, "")
    assert total_rails([rail]) == ()
    ina(tmp_path / "root")
    assert total_rails([*discover(tmp_path / "root"), rail]) == ("VIN",)


def test_sensors_that_cannot_be_started_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(
        state_dir=tmp_path, interpreters={"hailort": tmp_path / "none"}, sensors={"hailort": "temperature"}
    )
    launch.prepare(config)
    sensors = Sensors(config)
    sensors.start()
    assert sensors.roots() == []
    sensors.stop()
    assert "The sensors of 'hailort' cannot be started" in caplog.text
