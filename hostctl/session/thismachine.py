"""Meters that read the sensors of the machine hostctl runs on: of use for a board that is this machine, wrong for any other."""

from __future__ import annotations

import socket
from dataclasses import replace

from hostctl.errors import UsageError
from hostctl.inventory import Device, MeterConfig
from power.catalogue import DRIVERS
from targets.boards import load_board
from targets.errors import BoardUnknown


def check_sees_board(config: MeterConfig, device: Device) -> None:
    """Raise UsageError for a meter of this machine's sensors if the board is another machine.

    A program, such as tegrastats, may run over there (command = "ssh board tegrastats"), if farm.toml says so.
    """
    entry = DRIVERS.get(config.driver)
    if entry is None or device.address is None:
        return
    is_ours = entry.link == "host" or (entry.link == "process" and "command" not in config.options)
    if is_ours and not is_this_machine(device.address):
        raise UsageError(
            f"The meter '{config.name}' reads the sensors of this machine, but the device '{device.name}' is at "
            f"{device.address}; take --meter board for that board's own rails, or an instrument that it is connected to."
        )


def is_this_machine(address: str) -> bool:
    """Tell whether "host:port" is one of this machine's own addresses; a name that cannot be resolved is not."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]") or address
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return any(_is_own(family, place) for family, _, _, _, place in found)


def _is_own(family: int, place: tuple[object, ...]) -> bool:
    """Only an address of this machine can be bound to; nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(place)
    except OSError:
        return False
    return True


def with_rail_map(config: MeterConfig, device: Device) -> MeterConfig:
    """Return a hwmon meter's settings with the board's map of rails, where farm.toml has none and the catalogue has one."""
    if config.driver != "hwmon" or "rail_map" in config.options:
        return config
    try:
        found = load_board(device.board).rail_map
    except BoardUnknown:
        return config
    if found is None:
        return config
    table = {
        "sensors": found.sensors,
        "factors": found.factors,
        "total": list(found.total),
        "scope": found.scope,
    }
    return replace(config, options={**config.options, "rail_map": table})
