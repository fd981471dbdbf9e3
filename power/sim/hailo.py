"""A simulated Hailo module behind a simulated hailo_platform, which fails as HailoRT does: HailoRTException with a number."""

from __future__ import annotations

import enum
import math
from types import SimpleNamespace
from typing import Unpack

import numpy as np

from power.drivers.common.base import SIMULATED_SERIAL
from power.drivers.hailo import DEFAULT_FACTOR, SAMPLING_S
from power.sim.common.base import Settings
from power.sim.common.load import Load
from power.sim.common.module import SimulatedModule
from power.specification import Specified

GAIN_LIMIT, OFFSET_LIMIT_A = 0.01, 0.002
"""Limits of error of the specimens' current; Hailo states none."""


class AveragingFactor(enum.IntEnum):
    """HailoRT's averaging factors."""

    AVERAGE_1 = 1
    AVERAGE_4 = 4
    AVERAGE_16 = 16
    AVERAGE_64 = 64
    AVERAGE_128 = 128
    AVERAGE_256 = 256
    AVERAGE_512 = 512
    AVERAGE_1024 = 1024


class HailoRTException(Exception):  # noqa: N818 - the vendor's name
    """What hailo_platform raises."""


class HailoRTFirmwareControlFailedException(HailoRTException):
    """Status 18."""


class HailoRTDriverOperationFailedException(HailoRTException):
    """Status 36."""


class HailoCommunicationClosedException(HailoRTException):
    """Status 62."""


_OF_STATUS = {
    18: (HailoRTFirmwareControlFailedException, "libhailort control operation failed"),
    36: (HailoRTDriverOperationFailedException, "Failure in hailort driver ioctl. run 'dmesg | grep hailo'"),
    62: (HailoCommunicationClosedException, "Communication closed failure. Check server-client connection"),
}
"""Statuses that have a class of their own, whose words do not hold the number (pyhailort.py, ExceptionWrapper)."""


def failure(number: int, name: str) -> HailoRTException:
    """Return what HailoRT raises for a status."""
    kind, words = _OF_STATUS.get(
        number, (HailoRTException, f"libhailort failed with error: {number} ({name})")
    )
    return kind(words)


class SimulatedHailo(SimulatedModule):
    """One module or several. `has_monitor` false is one that cannot measure; `held` is held by another process."""

    driver = "hailo"
    vendor = "hailo_platform"
    supply_v = 3.3

    def __init__(
        self,
        load: Load,
        *,
        devices: tuple[str, ...] = ("0000:01:00.0",),
        has_monitor: bool = True,
        held: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(load, **settings)
        self.devices, self.has_monitor, self.held = devices, has_monitor, held
        self.is_protected, self.is_open = True, False
        self.broken_stops = 0
        self.sensor = self.sensor_of(current=Specified(GAIN_LIMIT, OFFSET_LIMIT_A))

    def contents(self) -> dict[str, object]:
        """Return the names that the driver uses."""
        simulator = self

        class Device(_Device):
            def __init__(self, identifier: str) -> None:
                super().__init__(simulator, identifier)

            @staticmethod
            def scan() -> list[str]:
                return [] if simulator.is_off else list(simulator.devices)

        return {"Device": Device, "HailoRTException": HailoRTException, "AveragingFactor": AveragingFactor}


class _Device:
    def __init__(self, simulator: SimulatedHailo, identifier: str) -> None:
        if simulator.held:
            raise failure(74, "HAILO_DEVICE_IN_USE")
        simulator.is_open = True
        self._simulator = simulator
        self.control = _Control(simulator, identifier)

    def release(self) -> None:
        """Let go. The firmware goes on with what it was told: a measurement is not stopped by this."""
        self._simulator.is_open = False


class _Control:
    def __init__(self, simulator: SimulatedHailo, identifier: str) -> None:
        self._simulator, self._identifier = simulator, identifier
        self._value_s = 2.0 * SAMPLING_S * DEFAULT_FACTOR
        self._started_s: float | None = None
        self._cleared = 0
        self._reads = 0
        self._is_set = False

    def identify(self) -> SimpleNamespace:
        """Tell who it is, padded with NULs as the firmware does."""
        self._check()
        return SimpleNamespace(
            board_name="Hailo-8\0",
            product_name="HAILO-8 AI ACC M.2 M KEY MODULE EXT TEMP\0",
            serial_number=f"{SIMULATED_SERIAL}-HAILO\0",
            firmware_version="4.20.0",
        )

    def set_power_measurement(self) -> None:
        """Choose the monitor of the overcurrent protection."""
        self._check()
        self._is_set = True

    def start_power_measurement(self, averaging_factor: int = DEFAULT_FACTOR) -> None:
        """Measure; the protection is off from here on."""
        self._check()
        if not self._is_set:
            raise failure(6, "HAILO_INVALID_OPERATION")
        self._simulator.is_protected = False
        self._value_s = 2.0 * SAMPLING_S * int(averaging_factor)
        self._started_s, self._cleared = self._simulator.sensor.now_s(), 0

    def get_power_measurement(self, should_clear: bool = True) -> SimpleNamespace:
        """Return the mean of the values since the last call that cleared."""
        self._check()
        self._reads += 1
        faults = self._simulator.faults
        if faults.is_cut(self._reads):
            raise failure(36, "HAILO_DRIVER_OPERATION_FAILED")
        if faults.is_garbage(self._reads):
            raise failure(8, "HAILO_INTERNAL_FAILURE")
        if self._started_s is None:
            raise failure(6, "HAILO_INVALID_OPERATION")
        finished = max(math.floor((self._now_s() - self._started_s) / self._value_s + 1e-9), self._cleared)
        if faults.is_silent(self._reads):
            finished = self._cleared
        count, first = finished - self._cleared, self._cleared
        if should_clear:
            self._cleared = finished
        if not count:
            return SimpleNamespace(average_value=0.0, total_number_of_samples=0)
        span = np.array([self._started_s + first * self._value_s, self._started_s + finished * self._value_s])
        volts, amperes = self._simulator.sensor.mean(span[:1], span[1:])
        return SimpleNamespace(average_value=float(volts[0] * amperes[0]), total_number_of_samples=count)

    def stop_power_measurement(self) -> None:
        """Measure no more; the protection is on again."""
        self._check()
        if self._simulator.broken_stops:
            self._simulator.broken_stops -= 1
            raise failure(4, "HAILO_TIMEOUT")
        self._started_s = None
        self._simulator.is_protected = True

    def _now_s(self) -> float:
        return self._simulator.sensor.now_s() - self._simulator.faults.delay_s

    def _check(self) -> None:
        if self._simulator.is_off:
            raise failure(62, "HAILO_COMMUNICATION_CLOSED")
        if not self._simulator.has_monitor and self._is_set:
            raise failure(18, "HAILO_FW_CONTROL_FAILURE")
