"""Meters of this machine's sensors: refused for boards that are other machines, given the board's map of rails for this one."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from hostctl.errors import UsageError
from hostctl.inventory import Device, MeterConfig
from hostctl.session.thismachine import check_sees_board, is_this_machine, with_rail_map
from power.catalogue import make_meter

REMOTE = Device("orin-1", "192.0.2.7:50051", "jetson-agx-orin")
HERE = Device("here", None, "xilinx-zcu102")


@pytest.mark.parametrize("name", ["rapl", "hwmon", "jetson-ina3221", "nvml", "hailo", "tegrastats"])
def test_sensors_of_this_machine_do_not_measure_another(name: str) -> None:
    with pytest.raises(
        UsageError,
        match=rf"meter '{name}' reads the sensors of this machine.*'orin-1' is at 192\.0\.2\.7:50051.*--meter board",
    ):
        check_sees_board(MeterConfig(name, name), REMOTE)
    check_sees_board(MeterConfig(name, name), HERE)
    check_sees_board(MeterConfig(name, name), Device("loop", "127.0.0.1:50051", "generic-x86_64"))


def test_what_is_connected_to_the_board_may_measure_it() -> None:
    for name in ("yokogawa-wt310", "estimate", "board"):
        check_sees_board(MeterConfig(name, name), REMOTE)
    there = MeterConfig("stats", "tegrastats", options={"command": "ssh orin-1 sudo tegrastats"})
    check_sees_board(there, REMOTE)


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        ("localhost:50051", True),
        ("127.0.0.1:50051", True),
        ("[::1]:50051", socket.has_ipv6),
        ("unix:/run/farmd.sock", True),
        ("192.0.2.7:50051", False),
        ("no-such-host.invalid:50051", False),
        (f"{'x' * 70}.invalid:1", False),
    ],
)
def test_addresses(address: str, is_ours: bool) -> None:
    if address.startswith("["):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    assert is_this_machine(address) is is_ours


def test_the_boards_map_goes_to_the_hwmon_meter() -> None:
    config = with_rail_map(MeterConfig("m", "hwmon", options={"root": "/nowhere"}), HERE)
    found: Any = config.options["rail_map"]
    assert found["sensors"]["ina226_u79"] == "VCCINT"
    make_meter("m", "hwmon", config.options)  # takes it
    own = MeterConfig("m", "hwmon", options={"rail_map": {"sensors": {"a": "b"}}})
    assert with_rail_map(own, HERE) is own
    rapl = MeterConfig("m", "rapl")
    assert with_rail_map(rapl, HERE) is rapl
    assert with_rail_map(MeterConfig("m", "hwmon"), Device("d", None, "raspberry-pi-4")).options == {}
    assert with_rail_map(MeterConfig("m", "hwmon"), Device("d", None, "homebrew")).options == {}
