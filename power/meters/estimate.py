"""Watts guessed from processor time, for machines that have no meter at all. Nothing here is measured.

P = idle_w + (max_w − idle_w) × utilisation, the linear model of X. Fan, W.-D. Weber, L. A. Barroso, "Power provisioning for a
warehouse-sized computer", ISCA 2007, section 4. Utilisation is busy processor time ÷ (elapsed time × processors).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from power.errors import NoReading, OptionInvalid
from power.meter import Capabilities, Meter
from power.sample import Sample
from power.sampler import trace_of
from power.trace import Trace
from power.uncertainty import Accuracy, Between, Independent


class CpuTime(Protocol):
    """Busy time of all processors together since any origin, and when that was read, on one monotonic clock."""

    @property
    def time_ns(self) -> int: ...
    @property
    def busy_ns(self) -> int: ...
    @property
    def cpu_count(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CpuTimeReading:
    """A plain CpuTime."""

    time_ns: int
    busy_ns: int
    cpu_count: int


class EstimateMeter(Meter):
    """Energy as a counter, read only at start, mark and stop: nobody polls in the window.

    `idle_w`, `max_w`: power of the whole board with idle and with busy processors. `read_cpu` returns a CpuTime, or None if the
    board does not tell. Times are those of the reader's clock. `u_w` is the standard uncertainty of a mean power, for those
    who know theirs; else all that is known is that the truth lies between idle and full load.
    """

    driver = "estimate"

    def __init__(
        self,
        name: str,
        *,
        idle_w: float,
        max_w: float,
        read_cpu: Callable[[], CpuTime | None],
        u_w: float | None = None,
    ) -> None:
        super().__init__(name)
        if not 0 <= idle_w <= max_w:
            raise OptionInvalid(
                f"The meter '{name}' needs 0 ≤ idle_w ≤ max_w, but has idle_w = {idle_w:g} and max_w = {max_w:g}."
            )
        if u_w is not None and not 0 < u_w < math.inf:
            raise OptionInvalid(f"The meter '{name}' needs a positive u_w in watts, but has {u_w:g}.")
        self._idle_w, self._max_w, self._read_cpu = idle_w, max_w, read_cpu
        self._accuracy: Accuracy = Between(idle_w, max_w) if u_w is None else Independent(u_w)
        self._first: CpuTime | None = None
        self._samples: list[Sample] = []

    @property
    def capabilities(self) -> Capabilities:
        """An estimate, anywhere between idle and full load unless the user knows better."""
        return Capabilities("counter", "board", accuracy=self._accuracy, clock="board", kind="estimated")

    def _open(self) -> None:
        self._read()

    def _start(self) -> None:
        self._first, self._samples = self._read(), []
        self._append(self._first)

    def _mark(self) -> None:
        self._append(self._read())

    def _stop(self) -> Trace:
        self._append(self._read())
        return trace_of(self._samples, "counter", None)

    def _close(self) -> None:
        self._samples = []

    def _read(self) -> CpuTime:
        found = self._read_cpu()
        if found is None or found.cpu_count < 1:
            raise NoReading(
                f"The board does not tell its processor time, so '{self.name}' can estimate nothing."
            )
        return found

    def _append(self, now: CpuTime) -> None:
        first = self._first
        if first is None:
            return
        elapsed_s = (now.time_ns - first.time_ns) * 1e-9
        busy_s = (now.busy_ns - first.busy_ns) * 1e-9 / now.cpu_count
        energy_j = self._idle_w * elapsed_s + (self._max_w - self._idle_w) * busy_s
        self._samples.append(Sample(now.time_ns, energy_j=energy_j))
