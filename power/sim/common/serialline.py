"""What simulated instruments on a serial line have in common: the line, and how it goes wrong."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from power.sim.common.base import Simulator
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.pty import Pty
from power.timebase import HOST_TIME, MonotonicTime, Timebase

SETTLE_S = 2.0


class SerialSimulator(Simulator):
    """Serves on a pseudo-terminal. Subclasses take what the host sends in `heard` and send through `say`.

    `consumed` counts the bytes that the host has read; None counts what a line of this process has read, in virtual time only:
    in real time, nobody has to wait for it.
    """

    def __init__(
        self,
        load: Load,
        *,
        timebase: Timebase = HOST_TIME,
        faults: Faults | None = None,
        seed: int | None = None,
        consumed: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(load, timebase=timebase, faults=faults, seed=seed)
        self._consumed = consumed
        self._said = 0
        self._last = b""
        self._pty = Pty(self.heard)

    @abstractmethod
    def heard(self, data: bytes) -> None:
        """Take what the host sent, in a thread of the line."""

    def start(self) -> None:
        """Begin to listen."""
        self._pty.start()

    def stop(self) -> None:
        """Pull the cable."""
        self._pty.close()

    @property
    def options(self) -> dict[str, object]:
        """The port."""
        return {"port": self._pty.path}

    def say(self, data: bytes, *, is_answer: bool = True) -> None:
        """Send a message to the host, spoilt as the faults ask for. What is no answer is not delayed here: it is made later."""
        self._said += 1
        faults = self.faults
        if faults.disconnect_after and self._said > faults.disconnect_after:
            self._pty.hang_up()
            return
        if faults.silent_after and self._said > faults.silent_after:
            return
        if faults.delay_s and is_answer:
            self.timebase.sleep(faults.delay_s)
        self._pty.send(self._spoilt(data))

    def settled(self) -> None:
        """Wait until the host has read everything."""
        if self._consumed is None and not isinstance(self.timebase, MonotonicTime):
            self._pty.settle()
        until_s = time.monotonic() + SETTLE_S
        while self._consumed is not None and self._consumed() < self._pty.sent_bytes:
            if time.monotonic() > until_s:
                return
            time.sleep(0.0001)

    def _spoilt(self, data: bytes) -> bytes:
        faults = self.faults
        if faults.garbage_after and self._said > faults.garbage_after:
            return np.random.default_rng(self._said).bytes(len(data))
        if faults.is_stale:
            data, self._last = self._last, data
        return data[: faults.truncate_at] if faults.truncate_at else data
