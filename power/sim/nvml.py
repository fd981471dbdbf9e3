"""Simulated NVIDIA cards behind a simulated nvidia-ml-py, which fails as the real one does: NVMLError with a code."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any, Unpack

import numpy as np

from power.drivers.common.base import SIMULATED_SERIAL
from power.drivers.nvml import AVERAGED_S, COUNTER_S, FIELDS, NOT_SUPPORTED
from power.sim.common.base import Settings
from power.sim.common.load import Load
from power.sim.common.module import SimulatedModule
from power.specification import Specified
from power.timebase import MonotonicTime

GAIN_LIMIT = 0.02
"""Limit of error of the specimens; NVIDIA states none."""
MESSAGES = {
    1: "Uninitialized",
    2: "Invalid Argument",
    3: "Not Supported",
    4: "Insufficient Permissions",
    6: "Not Found",
    9: "Driver Not Loaded",
    12: "NVML Shared Library Not Found",
    15: "GPU is lost",
    999: "Unknown Error",
}
GPU_IS_LOST, UNKNOWN = 15, 999


class NVMLError(Exception):
    """What nvidia-ml-py raises: `value` is the code."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return MESSAGES.get(self.value, f"NVML Error with code {self.value}")


class SimulatedNvml(SimulatedModule):
    """Cards that all see the same load. `fails` maps a function's name to the code that it fails with."""

    driver = "nvml"
    vendor = "pynvml"
    supply_v = 12.0

    def __init__(
        self,
        load: Load,
        *,
        names: tuple[str, ...] = ("Simulated GPU",),
        architecture: int = 9,
        fails: dict[str, int] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(load, **settings)
        self._names, self._architecture, self.fails = names, architecture, dict(fails or {})
        self._sensor = self.sensor_of(current=Specified(GAIN_LIMIT, 0.0))
        # The driver was loaded some time ago, and renews its counter at a phase of its own.
        self._loaded_s = self._sensor.now_s() - 100.0 - 0.037
        self._starts, self._reads = 0, 0

    def contents(self) -> dict[str, object]:
        """Return the functions that the driver uses, under NVML's names."""
        functions = {
            "nvmlInit": self._init,
            "nvmlShutdown": self._shutdown,
            "nvmlDeviceGetCount": lambda: len(self._names),
            "nvmlDeviceGetHandleByIndex": self._by_index,
            "nvmlDeviceGetHandleByUUID": self._by_uuid,
            "nvmlDeviceGetName": lambda card: self._names[card],
            "nvmlDeviceGetUUID": lambda card: f"GPU-0000-{card}",
            "nvmlDeviceGetSerial": lambda card: f"{SIMULATED_SERIAL}-{card}",
            "nvmlDeviceGetArchitecture": lambda card: self._architecture,
            "nvmlSystemGetDriverVersion": lambda: "570.00",
            "nvmlDeviceGetTotalEnergyConsumption": self._energy,
            "nvmlDeviceGetPowerUsage": self._usage,
            "nvmlDeviceGetFieldValues": self._fields,
        }
        return {
            "NVMLError": NVMLError,
            **{name: self._failing(name, call) for name, call in functions.items()},
        }

    @property
    def is_released(self) -> bool:
        """Whether everyone who started NVML has ended it."""
        return self._starts == 0

    def _failing(self, name: str, call: Any) -> Any:
        def called(*arguments: Any) -> Any:
            if name in self.fails:
                raise NVMLError(self.fails[name])
            if name != "nvmlInit" and not self._starts:
                raise NVMLError(1)
            if self.is_off and name != "nvmlShutdown":
                raise NVMLError(GPU_IS_LOST)
            return call(*arguments)

        return called

    def _init(self) -> None:
        self._starts += 1

    def _shutdown(self) -> None:
        self._starts -= 1

    def _by_index(self, index: int) -> int:
        if index >= len(self._names):
            raise NVMLError(2)
        return index

    def _by_uuid(self, uuid: str) -> int:
        for index in range(len(self._names)):
            if uuid == f"GPU-0000-{index}":
                return index
        raise NVMLError(6)

    def _energy(self, card: int) -> int:
        renewed_s = math.floor((self._now_s() - self._loaded_s) / COUNTER_S) * COUNTER_S
        energy_j = self._sensor.energy_j(self._loaded_s, self._loaded_s + renewed_s)
        return round(energy_j * 1e3)

    def _usage(self, card: int) -> int:
        mean = self._architecture >= 7 and "A100" not in self._names[card]
        return self._milli_w(AVERAGED_S if mean else 0.0)

    def _fields(self, card: int, fields: list[int]) -> list[SimpleNamespace]:
        found = []
        for field in fields:
            is_known = field in FIELDS.values() and self._architecture >= 7
            code = self.fails.get("field", 0 if is_known else NOT_SUPPORTED)
            milli_w = 0 if code else self._milli_w(AVERAGED_S if field == FIELDS["average"] else 0.0)
            found.append(SimpleNamespace(nvmlReturn=code, value=SimpleNamespace(uiVal=milli_w)))
        return found

    def _milli_w(self, averaged_s: float) -> int:
        now_s = self._now_s()
        at = np.array([now_s])
        volts, amperes = self._sensor.mean(at - averaged_s, at) if averaged_s else self._sensor.at(at)
        return round(float(volts[0] * amperes[0]) * 1e3)

    def _now_s(self) -> float:
        """Return the time of a reading; faults that come after so many readings come here."""
        self._reads += 1
        if self.faults.is_cut(self._reads):
            raise NVMLError(GPU_IS_LOST)
        if self.faults.is_garbage(self._reads):
            raise NVMLError(UNKNOWN)
        if self.faults.delay_s and isinstance(self.timebase, MonotonicTime):
            time.sleep(self.faults.delay_s)
        return self._sensor.now_s()
