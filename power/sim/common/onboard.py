"""Simulated sensors of a machine: a tree of files as sysfs has them, rewritten as often as the sensors are renewed.

What reads it is given the tree as `root`. A tree cannot tell when it is read, so a value is as old as the last renewal, which is
what real sensors do too.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Unpack

from power.drivers.common.base import SIMULATED_SERIAL
from power.drivers.common.onboard import MARKS
from power.sim.common.base import Settings, Simulator
from power.sim.common.load import Load
from power.specification import EXACT, Specified
from power.timebase import Ticker

WIDTH = 24
"""Numbers are padded, so that a renewal overwrites all of the one before at once and nobody reads half of one."""


class TreeSettings(Settings, total=False):
    """What trees can be made with."""

    renewal_s: float | None


class SimulatedTree(Simulator):
    """A temporary folder with sys/ in it. `renewal_s` is the time between renewals.

    voltage, current   limits of error of what its `sensor` reads
    """

    renewal_s: float = 0.01
    voltage: ClassVar[Specified] = EXACT
    current: ClassVar[Specified] = EXACT

    def __init__(self, load: Load, *, renewal_s: float | None = None, **settings: Unpack[Settings]) -> None:
        super().__init__(load, **settings)
        self.renewal_s = renewal_s or self.renewal_s
        self.sensor = self.sensor_of(voltage=self.voltage, current=self.current)
        self.root = Path(tempfile.mkdtemp(prefix="wattfarm-sim-"))
        self._handles: dict[Path, int] = {}
        self._ticker: Ticker | None = None
        self._renewals = itertools.count(1)
        self.lay(MARKS[0], f"{SIMULATED_SERIAL}-TREE")

    @abstractmethod
    def values(self, begin_s: float, end_s: float) -> Mapping[str, object]:
        """Return the files, from the root, that a renewal at `end_s` changes; the one before was at `begin_s`."""

    @property
    def options(self) -> dict[str, object]:
        """Where the tree is."""
        return {"root": str(self.root)}

    def start(self) -> None:
        """Fill the tree and begin to renew it."""
        self._renew()
        self._ticker = self.timebase.every(self.renewal_s, self._renew)

    def stop(self) -> None:
        """Remove the tree: the driver was unloaded."""
        if self._ticker is not None:
            self._ticker.stop()
        for handle in self._handles.values():
            with contextlib.suppress(OSError):
                os.close(handle)
        self._handles.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def lay(self, file: str, content: object) -> None:
        """Write a file that stays as it is."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")

    def _renew(self) -> bool:
        number = next(self._renewals)
        if self.faults.is_cut(number):
            shutil.rmtree(self.root, ignore_errors=True)
            return False
        if self.faults.is_silent(number):
            return True
        now_s = self.timebase.now_ns() / 1e9 - self.faults.delay_s
        is_noise = self.faults.is_garbage(number)
        for file, value in self.values(now_s - self.renewal_s, now_s).items():
            self._put(file, "\x7fgarbage" if is_noise else str(value))
        return True

    def _put(self, file: str, text: str) -> None:
        path = self.root / file
        if path not in self._handles:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handles[path] = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(self._handles[path], f"{self.faults.cut_short(text):<{WIDTH}}\n".encode(), 0)
