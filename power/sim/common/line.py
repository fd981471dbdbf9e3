"""A board's marker line, as instruments with a spare channel see it: the file that stands for a GPIO (targets/marker.py)."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np

from power.errors import OptionInvalid
from power.timebase import HOST_TIME, Timebase
from power.trace import Flags, Floats

LOOK_S = 0.25e-3
"""Time between two looks at the file."""


class MarkerLine:
    """The level of a line that somebody sets by writing 1 or 0 to a file, from `start` to `stop`.

    A change is taken to lie halfway between the two looks that it lies between; `blind_s` is how long that was at worst.
    """

    def __init__(self, path: Path, timebase: Timebase = HOST_TIME) -> None:
        """Raises OptionInvalid if the file is not there."""
        self._timebase = timebase
        try:
            self._fd = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise OptionInvalid(
                f"The marker line {path} cannot be read ({error.strerror}); make that file, and name it as "
                "WATTFARM_MARKER in farmd's worker_env too."
            ) from None
        self._changes_s: list[float] = []
        self._is_high = self._seen()
        self._begun_high = self._is_high
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self.blind_s = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, name="marker-line", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            os.close(self._fd)

    @property
    def changes_s(self) -> tuple[float, ...]:
        """When it changed."""
        with self._lock:
            return tuple(self._changes_s)

    def levels(self, t_s: Floats) -> Flags:
        """Return at which of these times it was high; after the last look it stays as it was."""
        changes_s = np.array(self.changes_s, np.float64)
        odd: Flags = np.searchsorted(changes_s, t_s, "right") % 2 == 1
        return ~odd if self._begun_high else odd

    def _watch(self) -> None:
        before_ns = self._timebase.now_ns()
        while not self._ended.is_set():
            is_high, now_ns = self._seen(), self._timebase.now_ns()
            if is_high != self._is_high:
                self._is_high = is_high
                self.blind_s = max(self.blind_s, (now_ns - before_ns) / 1e9)
                with self._lock:
                    self._changes_s.append((before_ns + now_ns) / 2e9)
            before_ns = now_ns
            time.sleep(LOOK_S)

    def _seen(self) -> bool:
        return os.pread(self._fd, 1, 0) == b"1"
