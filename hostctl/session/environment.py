"""Where a result came from: this host, the board, and the state both were in. Facts only; what is unknown is None."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2

_PACKAGES = ("wattfarm", "numpy", "grpcio", "protobuf")
_GIT_TIMEOUT_S = 2.0


def host_facts(sysfs_root: Path = Path("/sys")) -> dict[str, Any]:
    """Describe the machine hostctl runs on."""
    return {
        "hostname": platform.node() or None,
        "operating_system": platform.platform(),
        "architecture": platform.machine(),
        "cpu_count": os.cpu_count(),
        "governor": governor(sysfs_root),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": git_describe(Path(__file__).parents[1]),
    }


def board_facts(info: pb.GetInfoResponse) -> dict[str, Any]:
    """Describe the board as farmd tells it; proto's empty texts become None."""
    return {
        "farmd_version": info.farmd_version or None,
        "protocol_version": info.protocol_version,
        "instance_id": info.instance_id,
        "operating_system": info.operating_system or None,
        "architecture": info.architecture or None,
        "cpu_model": info.cpu_model or None,
        "cpu_features": list(info.cpu_features),
        "cpu_count": info.cpu_count if info.HasField("cpu_count") else None,
        "memory_total_bytes": info.memory_total_bytes if info.HasField("memory_total_bytes") else None,
        "healthy": info.health.healthy,
    }


def state_facts(stats: stats_pb2.BoardStats) -> dict[str, Any]:
    """Return what of a board's state changes from run to run: load, temperatures, clocks."""
    return {
        "load_average_1m": stats.load_average_1m if stats.HasField("load_average_1m") else None,
        "memory_available_bytes": (
            stats.memory_available_bytes if stats.HasField("memory_available_bytes") else None
        ),
        "temperatures_celsius": _readings(stats.temperatures, "celsius"),
        "frequencies_hz": _readings(stats.frequencies, "hz"),
    }


def governor(sysfs_root: Path) -> str | None:
    """Return the clock policy of the first processor, None where the system does not tell."""
    try:
        text = (sysfs_root / "devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text()
    except OSError:
        return None
    return text.strip() or None


def git_describe(directory: Path) -> str | None:
    """Return `git describe` of the source tree that runs, None where it is an installed package or git is missing."""
    if not (directory.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), "describe", "--always", "--dirty", "--tags"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _readings(
    sensors: Iterable[stats_pb2.Temperature] | Iterable[stats_pb2.Frequency], field: str
) -> dict[str, float | None]:
    return {
        sensor.name: getattr(sensor, field) if sensor.HasField(field) else None  # type: ignore[arg-type]
        for sensor in sensors
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
