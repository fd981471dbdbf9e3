"""What drivers of instruments on a serial line have in common: opening it, and closing it whatever happens."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import ClassVar

from power.drivers.common.base import Instrument
from power.errors import LinkLost, PowerError
from power.meter import Identity
from power.timebase import Timebase
from power.transports.reader import LineReader
from power.transports.serialport import Line, SerialLine


class SerialInstrument(Instrument):
    """An instrument at `port`: a device, `rfc2217://host:port` or `socket://host:port`."""

    def __init__(self, port: str, timebase: Timebase, baud: int, line: Line | None = None) -> None:
        """`line` is for tests; else `port` is opened by `connect`."""
        self._port, self._timebase, self._baud, self._given = port, timebase, baud, line
        self._line: Line | None = None

    def connect(self) -> Identity:
        """Open the line, see who is there and set it up."""
        line = self._given or SerialLine(self._port, self._baud, timebase=self._timebase)
        self._line = line
        try:
            return self._identified(line)
        except PowerError:
            with contextlib.suppress(PowerError):
                self.make_safe()
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Close the line."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    @abstractmethod
    def _identified(self, line: Line) -> Identity:
        """Ask who is there, and set it up."""

    @property
    def _connected(self) -> Line:
        if self._line is None:
            raise LinkLost(f"The serial line '{self._port}' is not open.")
        return self._line


class SerialStream(SerialInstrument):
    """An instrument that sends by itself, read in a thread between `begin`, which makes `_reader`, and `_stop`."""

    stop_command: ClassVar[bytes]
    _reader: LineReader | None = None

    def make_safe(self) -> None:
        """Let it be silent; whatever else it does goes on."""
        self._stop()

    def _stop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
        if self._line is not None:
            self._line.write(self.stop_command)
