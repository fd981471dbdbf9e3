"""What every simulated instrument is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar, Self, TypedDict

from power.drivers.common.base import SIMULATED_SERIAL
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.sensor import Sensor
from power.specification import EXACT, Specified
from power.timebase import HOST_TIME, Timebase


class Served(ABC):
    """What serves from `start` (or the `with` block's begin) to `stop`."""

    @abstractmethod
    def start(self) -> None:
        """Begin to serve."""

    @abstractmethod
    def stop(self) -> None:
        """Serve no more. Harmless twice."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Settings(TypedDict, total=False):
    """What every simulator can be made with; those with an `__init__` of their own hand it on as it is."""

    timebase: Timebase
    faults: Faults | None
    seed: int | None


class Simulator(Served):
    """An instrument connected to a load.

    `seed` draws a specimen whose errors keep the data sheet; None is a perfect one.
    """

    driver: ClassVar[str]
    """Name of the driver that reads it."""
    is_in_process: ClassVar[bool] = False
    """Whether only the process that it runs in can reach it: what stands behind a vendor's Python module."""
    sees_marker: ClassVar[bool] = False
    """Whether it has a spare channel, which is on the load's marker line where that has one."""
    takes_port: ClassVar[bool] = False
    """Whether it can be made with the TCP port that it listens on: `port`."""
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

    @property
    @abstractmethod
    def options(self) -> dict[str, object]:
        """The settings of farm.toml that lead to it, without its driver."""

    @property
    def serial(self) -> str:
        """The serial number that tells drivers what it is."""
        return f"{SIMULATED_SERIAL}-{0 if self.seed is None else self.seed}"

    def settled(self) -> None:
        """Wait, in real time, until everything it sent has been read: virtual time may go on then."""

    def truth_j(self, start_s: float, end_s: float) -> float:
        """Return the true energy between two times of the host's clock."""
        return self.load.waveform.energy_j(start_s, end_s)

    def sensor_of(self, *, voltage: Specified = EXACT, current: Specified = EXACT) -> Sensor:
        """Return what this specimen sees of the load, within these limits of error."""
        return Sensor(
            self.load, self.timebase, voltage=voltage, current=current, faults=self.faults, seed=self.seed
        )
