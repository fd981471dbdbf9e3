"""The systemd unit of farmd: what it may do, and what it may not.

Directives are those of systemd.service(5), systemd.exec(5) and systemd.kill(5); an older systemd passes over what it does
not know. What is left out is left out for a reason, which stands beside it: a vendor's runtime lives below this unit.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection
from dataclasses import dataclass

ACCELERATOR_GROUPS = (
    "video",  # Jetson (nvhost, nvmap), Vitis AI's zocl on some images, V4L
    "render",  # GPUs and NPUs: /dev/dri/renderD*, /dev/accel/*
    "apex",  # Edge TPU on PCIe, by the udev rule of its driver's documentation
    "plugdev",  # Edge TPU and Myriad on USB, by the rules of their packages
    "hailo",
    "i2c",  # INA sensors behind i2c-dev
    "gpio",  # the marker of a measurement's window
    "dialout",  # instruments at serial ports of the board
)
"""Groups that open accelerators and sensors. Only those that a board has: an unknown one keeps a unit from starting."""
_HOMES = ("/home/", "/root/", "/run/user/")


@dataclass(frozen=True)
class UnitSettings:
    """What a unit is written from. `needed_paths`: what farmd and its workers have to see, wherever it lies."""

    user: str
    command: str
    state_dir: str
    drain_s: float
    groups: tuple[str, ...]
    needed_paths: tuple[str, ...] = ()


def groups_for(present: Collection[str]) -> tuple[str, ...]:
    """Return the groups a board has that open accelerators and sensors."""
    return tuple(group for group in ACCELERATOR_GROUPS if group in present)


def unit_text(settings: UnitSettings) -> str:
    """Return the unit file."""
    home = any(f"{path}/".startswith(_HOMES) for path in (*settings.needed_paths, settings.state_dir))
    return _UNIT.format(
        user=settings.user,
        command=settings.command,
        groups=f"SupplementaryGroups={' '.join(settings.groups)}"
        if settings.groups
        else "# (this board has none of them)",
        state=_state(settings.state_dir),
        protect_home="read-only" if home else "yes",
        stop_s=int(settings.drain_s) + 30,
    )


def _state(state_dir: str) -> str:
    parent, name = posixpath.split(state_dir)
    if parent == "/var/lib":
        return f"StateDirectory={name}\nStateDirectoryMode=0700"
    return f"ReadWritePaths={state_dir}"


_UNIT = """\
# Written by hostctl deploy, and written anew by the next one: put changes into a drop-in ('systemctl edit farmd').
[Unit]
Description=Wattfarm device daemon
Documentation=man:systemd.exec(5)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
# farmd tells when it serves (READY=1). It sends no watchdog pings: a hung worker is its own to end, at the call's deadline.
Type=notify
ExecStart={command}
Restart=on-failure
RestartSec=2
# SIGTERM goes to farmd alone, which lets running calls end; its workers end with it.
KillMode=mixed
# drain_s, and what farmd may take after it.
TimeoutStopSec={stop_s}
# A worker that ran out of memory is told of as such; the daemon lives on.
OOMPolicy=continue

User={user}
# Which of the groups that may open accelerators and sensors exist here.
{groups}
{state}
UMask=0077
WorkingDirectory=/

NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectHostname=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictSUIDSGID=yes
# Local sockets, the network, and netlink, by which gRPC lists interfaces and USB runtimes hear of devices.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

# Left open on purpose, since the workers of vendors' runtimes are processes of this unit:
# MemoryDenyWriteExecute   runtimes compile for the machine they are on (OpenVINO, XNNPACK, TensorRT, TVM)
# PrivateDevices, DeviceAllow, and ProtectClock, which implies a device list: each vendor has nodes of its own, and the
#                          groups above say who opens them; to close the rest: DevicePolicy=closed, DeviceAllow=/dev/... rw
# ProtectKernelTunables    the marker of a measured window is a file below /sys/class/gpio
# SystemCallFilter, SystemCallArchitectures   drivers' ioctls and 32-bit runtimes

[Install]
WantedBy=multi-user.target
"""
