"""The values of `farmd.toml` one by one: each reader takes what TOML gave and the folder of relative paths.

A reader raises ValueError for what it does not take; farmd/config.py makes the sentence.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Address:
    """Where the daemon listens; port 0 lets the kernel choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return "host:port", with brackets around an IPv6 host, as gRPC takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A host name other than localhost counts as reachable."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def name(value: Any, _base: Path) -> str:
    """Read a name of a device, a board or a runtime."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError
    return value


def path(value: Any, base: Path) -> Path:
    """Read a path; a relative one starts at `base`."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return (base / Path(value).expanduser()).absolute()


def executable(value: Any, base: Path) -> Path:
    """Read the path of an executable file."""
    found = path(value, base)
    if not (found.is_file() and os.access(found, os.X_OK)):
        raise ValueError
    return found


def command(value: Any, base: Path) -> tuple[str, ...]:
    """Read the path of an executable and its arguments."""
    if not isinstance(value, list) or not value:
        raise ValueError
    return str(executable(value[0], base)), *(text(argument, base) for argument in value[1:])


def paths(value: Any, base: Path) -> tuple[Path, ...]:
    """Read a list of paths."""
    if not isinstance(value, list):
        raise ValueError
    return tuple(path(entry, base) for entry in value)


def integer(lowest: int, highest: int) -> Callable[[Any, Path], int]:
    """Return what reads a whole number within these bounds."""

    def read(value: Any, _base: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError
        return value

    return read


def seconds(lowest: float, highest: float) -> Callable[[Any, Path], float]:
    """Return what reads a finite number within these bounds."""

    def read(value: Any, _base: Path) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError
        if not math.isfinite(value) or not lowest <= value <= highest:
            raise ValueError
        return float(value)

    return read


def boolean(value: Any, _base: Path) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def one_of(*words: str) -> Callable[[Any, Path], str]:
    """Return what reads one of these words."""

    def read(value: Any, _base: Path) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return read


def text(value: Any, _base: Path) -> str:
    """Read any text."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def parse_address(value: Any, _base: Path = Path()) -> Address:
    """Read "host:port" or "[ipv6]:port"; ValueError if it is neither."""
    if not isinstance(value, str):
        raise ValueError
    host, colon, port = value.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError
    if host.startswith("[") and host.endswith("]"):
        return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
    if not _HOST.fullmatch(host):
        raise ValueError
    return Address(host, int(port))
