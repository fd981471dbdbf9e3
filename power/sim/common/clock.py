"""Times for simulations: one that passes only when somebody sleeps, and one that runs wrong."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from power.timebase import Ticker, Timebase


class VirtualTime:
    """A clock that stands still until somebody sleeps; repeated tasks run at their times, in the sleeper's thread.

    While a task waits for a simulated instrument, that may let time pass too, from its own thread: nobody else does then.
    """

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_ns = round(start_s * 1e9)
        self._due: list[tuple[int, int, _Task]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return the time."""
        return self._now_ns

    def sleep(self, duration_s: float) -> None:
        """Let time pass, and do what falls due."""
        self.sleep_until(self._now_ns + round(duration_s * 1e9))

    def sleep_until(self, end_ns: int) -> None:
        """Let time pass up to a moment; nothing if that is past."""
        while (task := self._next(end_ns)) is not None:
            if task.is_wanted and task.run():
                task.due_ns = max(task.due_ns + task.interval_ns, self._now_ns)
                self._add(task)
        self._now_ns = max(self._now_ns, end_ns)

    def every(self, interval_s: float, task: Callable[[], bool]) -> Ticker:
        """Run the task each interval from one interval on."""
        made = _Task(task, round(interval_s * 1e9), self._now_ns + round(interval_s * 1e9))
        self._add(made)
        return made

    def _add(self, task: _Task) -> None:
        with self._lock:
            heapq.heappush(self._due, (task.due_ns, next(self._numbers), task))

    def _next(self, end_ns: int) -> _Task | None:
        with self._lock:
            if not self._due or self._due[0][0] > end_ns:
                return None
            due_ns, _, task = heapq.heappop(self._due)
        self._now_ns = max(self._now_ns, due_ns)
        return task


class _Task:
    def __init__(self, run: Callable[[], bool], interval_ns: int, due_ns: int) -> None:
        self.run, self.interval_ns, self.due_ns = run, interval_ns, due_ns
        self.is_wanted = True

    def stop(self) -> None:
        self.is_wanted = False


class SkewedTime:
    """Another clock as a wrong one shows it: off by offset_s, and running fast by `ppm` since it was made."""

    def __init__(self, true: Timebase, offset_s: float = 0.0, ppm: float = 0.0) -> None:
        self._true, self._offset_ns, self._skew = true, round(offset_s * 1e9), ppm * 1e-6
        self._origin_ns = true.now_ns()

    def now_ns(self) -> int:
        """Return the wrong time."""
        return self.shown_ns(self._true.now_ns())

    def shown_ns(self, true_ns: int) -> int:
        """Return what this clock shows at a true time."""
        return true_ns + self._offset_ns + round(self._skew * (true_ns - self._origin_ns))

    def true_ns(self, shown_ns: int) -> int:
        """Return the true time at which this clock shows another."""
        past_ns = (shown_ns - self._offset_ns - self._origin_ns) / (1.0 + self._skew)
        return self._origin_ns + round(past_ns)
