"""Simulated RuiDeng USB meters: a frame for each byte F0, renewed twice a second."""

from __future__ import annotations

import math
import struct
from typing import Unpack

import numpy as np

from power.drivers.rdtech import (
    ASK,
    FRAME_BYTES,
    RENEWAL_S,
    SIMULATED,
    SIMULATED_AT,
    TRAILER,
    RdTechMeter,
    Um24c,
    Um25c,
    Um34c,
    checksum,
)
from power.sim.common.base import Settings
from power.sim.common.load import Load
from power.sim.common.serialline import SerialSimulator


class SimulatedRdTech(SerialSimulator):
    """What the three have in common. A renewal shows the means since the last one."""

    meter: type[RdTechMeter]

    def __init__(self, load: Load, **settings: Unpack[Settings]) -> None:
        super().__init__(load, **settings)
        self._sensor = self.sensor_of(voltage=self.meter.voltage_limits, current=self.meter.current_limits)
        phase = 0.0 if self.seed is None else float(np.random.default_rng((self.seed, 2)).uniform())
        self._origin_s = self._sensor.now_s() - (2.0 + phase) * RENEWAL_S

    def heard(self, data: bytes) -> None:
        """Answer each byte that asks."""
        for _ in range(data.count(ASK)):
            self.say(self.frame())

    def frame(self) -> bytes:
        """Return the frame that is shown now."""
        past_s = self._sensor.now_s() - self._origin_s
        end_s = np.array([self._origin_s + math.floor(past_s / RENEWAL_S + 1e-9) * RENEWAL_S])
        volts, amperes = (float(column[0]) for column in self._sensor.mean(end_s - RENEWAL_S, end_s))
        amperes = min(max(amperes, 0.0), self.meter.most_a)
        made = bytearray(FRAME_BYTES)
        struct.pack_into(
            ">HHHI",
            made,
            0,
            self.meter.model_id,
            round(volts / self.meter.volts_per_count),
            round(amperes / self.meter.amperes_per_count),
            round(volts * amperes * 1e3),
        )
        made[SIMULATED_AT : SIMULATED_AT + len(SIMULATED)] = SIMULATED
        made[-2:] = TRAILER
        if self.meter is Um34c:
            made[-1] = checksum(bytes(made))
        return bytes(made)


class SimulatedUm24c(SimulatedRdTech):
    """A UM24C."""

    driver = "rdtech-um24c"
    meter = Um24c


class SimulatedUm25c(SimulatedRdTech):
    """A UM25C."""

    driver = "rdtech-um25c"
    meter = Um25c


class SimulatedUm34c(SimulatedRdTech):
    """A UM34C."""

    driver = "rdtech-um34c"
    meter = Um34c
