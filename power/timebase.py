"""The host's time, and work that is done again and again in it. Meters take it as a parameter, so that simulations can
run in a time of their own (power/sim/common/clock.py)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Ticker(Protocol):
    """A task that is repeated until it is stopped or returns false."""

    def stop(self) -> None:
        """Let it not run again; returns when it is over. Harmless twice."""


class Timebase(Protocol):
    """A monotonic clock."""

    def now_ns(self) -> int:
        """Return the time."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""

    def every(self, interval_s: float, task: Callable[[], bool]) -> Ticker:
        """Run the task each `interval_s` from one interval on, on a fixed grid, until it returns false.

        A task that takes longer than an interval delays the next one and shifts the grid; runs are never made up for.
        """
        ...


class MonotonicTime:
    """The host's real monotonic clock; repeated tasks run in a thread of their own, which sleeps in between."""

    def now_ns(self) -> int:
        """Return time.monotonic_ns()."""
        return time.monotonic_ns()

    def sleep(self, duration_s: float) -> None:
        """Sleep."""
        time.sleep(max(0.0, duration_s))

    def every(self, interval_s: float, task: Callable[[], bool]) -> Ticker:
        """Start a thread for the task."""
        return _Thread(interval_s, task)


class _Thread:
    def __init__(self, interval_s: float, task: Callable[[], bool]) -> None:
        self._interval_s, self._task = interval_s, task
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic() + self._interval_s
        while not self._ended.wait(max(0.0, due_s - time.monotonic())):
            if not self._task():
                return
            due_s = max(due_s + self._interval_s, time.monotonic())


HOST_TIME: Timebase = MonotonicTime()
"""The clock that everything uses which is not told otherwise."""
