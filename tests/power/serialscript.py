"""A scripted serial line: the exact bytes a driver sends, in order, and what comes back. It must be used up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from power.timebase import Timebase

T = TypeVar("T")
Step = tuple[bytes, Sequence[bytes]]
"""What is sent, and the pieces that come of it."""


class Script:
    """A Line over a script. What a driver throws away, or has not read when it sends again, is gone."""

    serial_number: str | None = None

    def __init__(self, steps: Sequence[Step], timebase: Timebase) -> None:
        self._steps, self._timebase = list(steps), timebase
        self._next = 0
        self._coming: list[bytes] = []
        self.is_closed = False
        self._is_read, self._woken = threading.Event(), threading.Event()

    def write(self, data: bytes) -> None:
        """Expect bytes; what comes of them is there from now on."""
        assert self._next < len(self._steps), f"the script is over, but {data!r} was sent"
        expected, answer = self._steps[self._next]
        assert data == expected, f"step {self._next}: sent {data!r}, due is {expected!r}"
        self._next += 1
        self._is_read.clear()
        self._coming += answer

    def wait_until_read(self) -> None:
        """Wait until a thread of the driver has read all that came."""
        assert self._is_read.wait(2.0)

    def read_some(self, timeout_s: float, most: int = 1 << 16) -> tuple[bytes, int]:
        """Return the next piece."""
        if not self._coming:
            self._is_read.set()
            self._woken.wait(min(timeout_s, 0.01))
            return b"", self._timebase.now_ns()
        return self._coming.pop(0), self._timebase.now_ns()

    def gather(self, take: Callable[[bytes], T | None], timeout_s: float) -> T | None:
        """Hand over the pieces; scripts do not wait."""
        while self._coming:
            found = take(self._coming.pop(0))
            if found is not None:
                return found
        return None

    def drain(self) -> None:
        """Throw away."""
        self._coming = []

    def quieten(self, quiet_s: float, within_s: float) -> bool:
        """Throw away."""
        self.drain()
        return True

    def wake(self) -> None:
        """Nobody waits for long."""

    def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True

    def check_used_up(self) -> None:
        """Fail unless every step was taken."""
        assert self._next == len(self._steps), f"left over: {self._steps[self._next :]}"
