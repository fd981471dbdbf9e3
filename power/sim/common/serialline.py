"""What simulated instruments on a serial line have in common: the line, and how it goes wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Unpack

import numpy as np

from power.sim.common.base import Settings, Simulator
from power.sim.common.load import Load
from power.sim.common.pty import Pty
from power.timebase import MonotonicTime, Ticker


class SerialSimulator(Simulator):
    """Serves on a pseudo-terminal. Subclasses take what the host sends in `heard` and send through `say`."""

    def __init__(self, load: Load, **settings: Unpack[Settings]) -> None:
        super().__init__(load, **settings)
        self._said = 0
        self._last = b""
        self._pty = Pty(self.heard)
        self._ticker: Ticker | None = None

    @abstractmethod
    def heard(self, data: bytes) -> None:
        """Take what the host sent, in a thread of the line."""

    def start(self) -> None:
        """Begin to listen."""
        self._pty.start()

    def stop(self) -> None:
        """Send no more, and pull the cable."""
        self.stop_repeating()
        self._pty.close()

    @property
    def options(self) -> dict[str, object]:
        """The port."""
        return {"port": self._pty.path}

    def repeat(self, interval_s: float, task: Callable[[], bool]) -> None:
        """Do what sends by itself, each interval, until `stop_repeating`."""
        self._ticker = self.timebase.every(interval_s, task)

    def stop_repeating(self) -> None:
        """Send nothing by itself any more. Harmless twice."""
        ticker, self._ticker = self._ticker, None
        if ticker is not None:
            ticker.stop()

    def say(self, data: bytes, *, is_answer: bool = True) -> None:
        """Send a message to the host, spoilt as the faults ask for. What is no answer is not delayed here: it is made later."""
        self._said += 1
        faults = self.faults
        if faults.is_cut(self._said):
            self._pty.hang_up()
            return
        if faults.is_silent(self._said):
            return
        if faults.delay_s and is_answer:
            self.timebase.sleep(faults.delay_s)
        self._pty.send(self._spoilt(data))

    def settled(self) -> None:
        """Wait until a host of this process has read everything; in real time, nobody has to wait for it."""
        if not isinstance(self.timebase, MonotonicTime):
            self._pty.settle()

    def _spoilt(self, data: bytes) -> bytes:
        faults = self.faults
        if faults.is_garbage(self._said):
            return np.random.default_rng(self._said).bytes(len(data))
        if faults.is_stale:
            data, self._last = self._last, data
        return faults.cut_short(data)
