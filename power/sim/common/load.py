"""What simulated instruments are connected to: a supply and what draws from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from power.sim.common.line import MarkerLine
from power.sim.common.waveforms import Waveform
from power.timebase import HOST_TIME, Ticker, Timebase
from power.trace import Floats


@dataclass(frozen=True)
class Load:
    """A board on a supply of constant voltage. True quantities: instruments see them through a Sensor.

    line  its marker line, for instruments with a spare channel (Simulator.sees_marker); None: it has none
    """

    waveform: Waveform
    supply_v: float = 5.0
    line: MarkerLine | None = None

    def mean_w(self, start_s: Floats, end_s: Floats) -> Floats:
        """Return the mean power of each span."""
        return (self.waveform.integral_j(end_s) - self.waveform.integral_j(start_s)) / (end_s - start_s)


class ProcessLoad(Waveform):
    """The power of a machine whose processor time is read while it runs: idle_w + (max_w − idle_w) × utilisation.

    It is known up to now only, at a resolution of `interval_s` and whenever it is asked for a later time than it knows; the
    future is taken to be idle. Linux counts processor time in steps of 10 ms: finer intervals would make peaks of them.
    """

    def __init__(
        self,
        read_cpu_s: Callable[[], float],
        *,
        idle_w: float,
        max_w: float,
        interval_s: float = 0.05,
        timebase: Timebase = HOST_TIME,
    ) -> None:
        self._read_cpu_s, self._idle_w, self._max_w, self._timebase = read_cpu_s, idle_w, max_w, timebase
        self._lock = threading.Lock()
        self._times_s: list[float] = []
        self._cpu_s: list[float] = []
        self._interval_s = interval_s
        self._ticker: Ticker | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._tick()
        self._ticker = self._timebase.every(self._interval_s, self._tick)

    def stop(self) -> None:
        """Watch no more."""
        if self._ticker is not None:
            self._ticker.stop()

    def power_w(self, t_s: Floats) -> Floats:
        """Return the mean power of the interval around each time."""
        half_s = 0.5 * self._interval_s
        return (self.integral_j(t_s + half_s) - self.integral_j(t_s - half_s)) / self._interval_s

    def integral_j(self, t_s: Floats) -> Floats:
        """Return idle and what processor time adds to it."""
        # An instrument that asks for its last interval would else never see what came after the last look.
        if len(t_s) and self._times_s and float(np.max(t_s)) > self._times_s[-1]:
            self._tick()
        with self._lock:
            times_s, cpu_s = np.array(self._times_s), np.array(self._cpu_s)
        busy_s: Floats = np.interp(t_s, times_s, cpu_s)
        return self._idle_w * t_s + (self._max_w - self._idle_w) * busy_s

    def _tick(self) -> bool:
        with self._lock:
            now_s = self._timebase.now_ns() / 1e9
            if not self._times_s or now_s > self._times_s[-1]:
                self._times_s.append(now_s)
                self._cpu_s.append(self._read_cpu_s())
        return True
