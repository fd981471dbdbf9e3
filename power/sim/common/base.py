"""What every simulated instrument is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self

from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.timebase import HOST_TIME, Timebase


class Simulator(ABC):
    """An instrument connected to a load. It serves from `start` (or the `with` block's begin) to `stop`.

    `seed` draws a specimen whose errors keep the data sheet; None is a perfect one.
    """

    driver: ClassVar[str]
    """Name of the driver that reads it."""
    is_in_process: ClassVar[bool] = False
    """Whether only the process that it runs in can reach it: what stands behind a vendor's Python module."""
    supply_v: ClassVar[float] = 5.0
    """Voltage of the supply it is usually put into."""

    def __init__(
        self,
        load: Load,
        *,
        timebase: Timebase = HOST_TIME,
        faults: Faults | None = None,
        seed: int | None = None,
    ) -> None:
        self.load, self.timebase, self.faults, self.seed = load, timebase, faults or Faults(), seed

    @abstractmethod
    def start(self) -> None:
        """Begin to serve."""

    @abstractmethod
    def stop(self) -> None:
        """Serve no more. Harmless twice."""

    @property
    @abstractmethod
    def options(self) -> dict[str, object]:
        """The settings of farm.toml that lead to it, without its driver."""

    def settled(self) -> None:  # noqa: B027 - those that only answer have nothing to settle
        """Wait, in real time, until everything it sent has been read: virtual time may go on then."""

    def truth_j(self, start_s: float, end_s: float) -> float:
        """Return the true energy between two times of the host's clock."""
        return self.load.waveform.energy_j(start_s, end_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
