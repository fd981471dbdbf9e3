"""A thread that empties a serial line as fast as bytes come, and notes when: lines hold little, and streams do not wait."""

from __future__ import annotations

import threading

from power.errors import LinkLost, PowerError
from power.transports.serialport import Line

LOOK_S = 0.1
"""How often it looks whether it is still wanted."""
Piece = tuple[bytes, int]
"""Bytes, and when they had arrived (timebase, ns)."""


class LineReader:
    """Reads from when it is made until `stop`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._pieces: list[Piece] = []
        self._error: PowerError | None = None
        self._lock = threading.Lock()
        self._first, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-line-reader", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first bytes, in real time; false if none came. Raises LinkLost if the line broke."""
        came = self._first.wait(timeout_s)
        if self._error is not None and not self._pieces:
            raise self._error
        return came

    def take(self) -> list[Piece]:
        """Return what came since the last call. Raises LinkLost if the line broke, once all is taken."""
        with self._lock:
            pieces, self._pieces = self._pieces, []
        if not pieces and self._error is not None:
            raise self._error
        return pieces

    def stop(self) -> None:
        """Read no more. Harmless twice."""
        self._ended.set()
        self._line.wake()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                data, arrival_ns = self._line.read_some(LOOK_S)
                if data:
                    with self._lock:
                        self._pieces.append((data, arrival_ns))
                    self._first.set()
        except PowerError as error:
            self._error = error if isinstance(error, LinkLost) else LinkLost(str(error))
        self._first.set()
