"""Serial lines through pyserial: a device, `rfc2217://host:port`, `socket://host:port`."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from power.errors import LinkLost, MeterUnavailable
from power.timebase import HOST_TIME, Timebase

T = TypeVar("T")

OPEN: weakref.WeakValueDictionary[str, SerialLine] = weakref.WeakValueDictionary()
"""The open lines of this process, by port: simulated instruments see here how far the host has read (power/sim/common/pty.py)."""


class Line(Protocol):
    """What drivers need of a serial line; SerialLine is one, a script in a test another."""

    @property
    def serial_number(self) -> str | None:
        """Serial number of the adapter."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read_some(self, timeout_s: float, most: int = 1 << 16) -> tuple[bytes, int]:
        """Return what is there, or comes first, and when."""
        ...

    def gather(self, take: Callable[[bytes], T | None], timeout_s: float) -> T | None:
        """Hand over what comes until it is enough."""

    def drain(self) -> None:
        """Throw away what has come."""

    def quieten(self, quiet_s: float, within_s: float) -> bool:
        """Throw away what comes until it is quiet."""
        ...

    def wake(self) -> None:
        """End a wait in another thread."""

    def close(self) -> None:
        """Close."""


class SerialLine:
    """An open line. `received_bytes` counts what was read so far.

    Raises MeterUnavailable from `__init__` if it cannot be opened, LinkLost from the others if it broke.
    """

    def __init__(self, port: str, baud: int, *, timebase: Timebase = HOST_TIME) -> None:
        self.port, self._timebase = port, timebase
        self.received_bytes = 0
        try:
            import serial
        except ModuleNotFoundError:
            raise MeterUnavailable(
                f"Reading '{port}' needs pyserial; run pip install 'wattfarm[serial]'."
            ) from None
        self._broken: tuple[type[BaseException], ...] = (serial.SerialException, OSError, TypeError)
        try:
            self._line: Any = serial.serial_for_url(port, baudrate=baud, timeout=0)
        except (serial.SerialException, ValueError, OSError) as error:
            raise MeterUnavailable(_why_not(port, error)) from None
        OPEN[port] = self

    @property
    def serial_number(self) -> str | None:
        """Serial number of the USB device behind the port; None where there is none, or it tells none."""
        from serial.tools import list_ports

        path = os.path.realpath(self.port)
        with contextlib.suppress(OSError):
            for found in list_ports.comports():
                if os.path.realpath(found.device) == path:
                    return found.serial_number or None
        return None

    def write(self, data: bytes) -> None:
        """Send bytes."""
        try:
            self._line.write(data)
        except self._broken as error:
            raise self._lost(error) from None

    def read(self, count: int, timeout_s: float) -> bytes:
        """Return up to `count` bytes: fewer only if no more came within `timeout_s` of real time."""
        self._line.timeout = timeout_s
        try:
            data: bytes = self._line.read(count)
        except self._broken as error:
            raise self._lost(error) from None
        self.received_bytes += len(data)
        return data

    def read_some(self, timeout_s: float, most: int = 1 << 16) -> tuple[bytes, int]:
        """Return what is there, or what comes first within `timeout_s` of real time, and when it was there (timebase, ns)."""
        self._line.timeout = timeout_s
        try:
            waiting = self._line.in_waiting
            data: bytes = self._line.read(min(max(waiting, 1), most))
            if data and len(data) < most:
                more = min(self._line.in_waiting, most - len(data))
                data += self._line.read(more) if more else b""
        except self._broken as error:
            raise self._lost(error) from None
        arrival_ns = self._timebase.now_ns()
        self.received_bytes += len(data)
        return data, arrival_ns

    def gather(self, take: Callable[[bytes], T | None], timeout_s: float) -> T | None:
        """Hand over what comes, in pieces, until `take` returns something; None if it has not within `timeout_s` of real time."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0.0:
            data, _ = self.read_some(left_s)
            found = take(data) if data else None
            if found is not None:
                return found
        return None

    def drain(self) -> None:
        """Throw away what has come and was not read."""
        try:
            while waiting := self._line.in_waiting:
                self.received_bytes += len(self._line.read(waiting))
        except self._broken as error:
            raise self._lost(error) from None

    def quieten(self, quiet_s: float, within_s: float) -> bool:
        """Throw away what comes until nothing does for `quiet_s` of real time; false if it has not been quiet `within_s`."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            if not self.read_some(quiet_s)[0]:
                return True
        return False

    def wake(self) -> None:
        """End a wait for bytes in another thread, where the port can: devices do, sockets wait on."""
        cancel = getattr(self._line, "cancel_read", None)
        if cancel is not None:
            with contextlib.suppress(*self._broken):
                cancel()

    def close(self) -> None:
        """Close the line. Never raises; harmless twice."""
        with contextlib.suppress(*self._broken):
            self._line.close()

    def _lost(self, error: BaseException) -> LinkLost:
        what = " ".join(str(error).split()) or type(error).__name__
        return LinkLost(
            f"The serial line '{self.port}' broke ({what}); check the cable and that the meter is on."
        )


def _why_not(port: str, error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EACCES:
        return (
            f"The serial port '{port}' may not be opened by this user; "
            f"run 'sudo usermod -aG dialout {_user()}' and log in again."
        )
    if number == errno.ENOENT:
        return f"There is no serial port '{port}'; see 'ls /dev/tty* /dev/rfcomm*' and correct port in farm.toml."
    what = " ".join(str(error).split()) or type(error).__name__
    return f"The serial port '{port}' cannot be opened ({what}); check port in farm.toml."


def _user() -> str:
    return os.environ.get("USER", "$USER")
