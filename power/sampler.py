"""Reads a source again and again, and keeps what it read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from power.errors import LinkLost, NoReading, PowerError
from power.sample import Sample
from power.timebase import HOST_TIME, Ticker, Timebase
from power.trace import Reading, Trace

FAILURES = 3
"""So many failed readings in a row mean that the source is gone; as many lost intervals are a gap."""


class Sampler:
    """Collects Samples of one source.

    `interval_s` is the time between readings, kept on a fixed grid so that a slow read does not shift the later ones.
    `read` may raise PowerError: a single failure, as of a busy I²C bus, leaves a sample without values, which counts as
    lost; three in a row, or a link that is gone, end it, and `stop` raises the last.
    """

    def __init__(self, read: Callable[[], Sample], interval_s: float, timebase: Timebase = HOST_TIME) -> None:
        self._read, self._interval_s, self._timebase = read, interval_s, timebase
        self._samples: list[Sample] = []
        self._lock = threading.Lock()
        self._failures = 0
        self._error: PowerError | None = None
        self._ticker: Ticker | None = None

    def start(self, wait_s: float = 0.0) -> None:
        """Take the first reading, then go on by itself. Raises PowerError if the first one fails.

        A source may have no value yet, as just after a change of range: one that comes within `wait_s` is waited for.
        """
        self.take()
        self._ticker = self._timebase.every(self._interval_s, self._tick)
        until_ns = self._timebase.now_ns() + round(wait_s * 1e9)
        while not self._has_value() and self._error is None and self._timebase.now_ns() < until_ns:
            self._timebase.sleep(self._interval_s)

    def _has_value(self) -> bool:
        return any(s.power_w is not None or s.energy_j is not None for s in self._samples)

    def take(self) -> None:
        """Read now, in the caller's thread."""
        with self._lock:
            self._samples.append(self._read())

    def stop(self) -> Sequence[Sample]:
        """Take the last reading and return all, in order of time. Raises the error that ended it early."""
        self.halt()
        if self._error is not None:
            raise self._error
        self.take()
        return self._samples

    def halt(self) -> Sequence[Sample]:
        """Read no more, and say nothing about it; return what was read. Harmless twice."""
        if self._ticker is not None:
            self._ticker.stop()
        return self._samples

    def _tick(self) -> bool:
        try:
            self.take()
            self._failures = 0
        except PowerError as error:
            self._failures += 1
            if self._failures >= FAILURES or isinstance(error, LinkLost):
                self._error = error
                return False
            with self._lock:
                self._samples.append(Sample(self._timebase.now_ns()))
        return True


def trace_of(samples: Sequence[Sample], reading: Reading, interval_s: float | None) -> Trace:
    """Make a trace of one source's samples. Samples without a value count as lost; times that did not move are dropped.

    Raises NoReading if none has a value.
    """
    counter = reading == "counter"
    values = [sample.energy_j if counter else sample.power_w for sample in samples]
    known = [(sample, value) for sample, value in zip(samples, values, strict=True) if value is not None]
    if not known:
        if any(sample.is_clipped for sample in samples):
            raise NoReading("All readings of the meter were over its range; set a larger one.")
        raise NoReading("The meter yielded no reading at all; check that its source is alive.")
    time_ns = np.array([sample.time_ns for sample, _ in known], np.int64)
    fresh = np.concatenate(([True], np.diff(time_ns) > 0))
    t_s, column = time_ns[fresh] / 1e9, np.array([value for _, value in known])[fresh]
    return Trace(
        t_s,
        power_w=None if counter else column,
        energy_j=column if counter else None,
        voltage_v=_column([sample.voltage_v for sample, _ in known], fresh),
        current_a=_column([sample.current_a for sample, _ in known], fresh),
        reading=reading,
        interval_s=interval_s,
        clipped=_clipped(samples, values, fresh),
        lost=len(samples) - len(known),
    )


def _column(
    values: list[float | None], keep: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> np.ndarray | None:
    if any(value is None for value in values):
        return None
    return np.array(values, np.float64)[keep]


def _clipped(
    samples: Sequence[Sample],
    values: Sequence[float | None],
    keep: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Mark the readings at the limit. One that gave no value because it was over the range marks the next one."""
    if all(sample.is_clipped is None for sample in samples):
        return None
    marks: list[bool] = []
    is_pending = False
    for sample, value in zip(samples, values, strict=True):
        is_pending = is_pending or bool(sample.is_clipped)
        if value is not None:
            marks.append(is_pending)
            is_pending = False
    return np.array(marks, np.bool_)[keep]
