"""A simulated microcontroller that reads an INA sensor: the other side of docs/meters/ina-serial.md."""

from __future__ import annotations

import math
import threading
from typing import Unpack

import numpy as np

from power.drivers.common.ina_lines import VERSION, sealed
from power.drivers.common.ina_registers import SENSORS
from power.drivers.ina_serial import WRAP_US
from power.errors import OptionInvalid
from power.sim.common.base import Settings
from power.sim.common.load import Load
from power.sim.common.pacing import clock_error_ppm
from power.sim.common.serialline import SerialSimulator
from power.specification import Specified

SERIAL, FIRMWARE = "WATTFARM-SIM-1", "1.0"
PPM = 100.0
BOOTED_US = WRAP_US - 3_000_000
"""Its clock wraps three seconds after it was begun, as it may in any run."""


class SimulatedInaSerial(SerialSimulator):
    """One channel carries the load; the others of an INA3221 carry nothing."""

    driver = "ina-serial"

    def __init__(
        self,
        load: Load,
        *,
        sensor: str = "INA226",
        shunt_ohm: float = 0.02,
        shunt_tolerance: float = 0.01,
        interval_s: float = 0.05,
        averaging_s: float = 0.042496,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(load, **settings)
        if sensor not in SENSORS:
            raise OptionInvalid(f"There is no sensor {sensor}; there are {', '.join(SENSORS)}.")
        self._ina, self._shunt_ohm, self._shunt_tolerance = SENSORS[sensor], shunt_ohm, shunt_tolerance
        self._interval_s, self._averaging_s = interval_s, averaging_s
        limits = self._ina.shunt
        current = Specified(math.hypot(limits.of_reading, shunt_tolerance), limits.offset / shunt_ohm)
        self._sensor = self.sensor_of(voltage=self._ina.bus, current=current)
        ppm = clock_error_ppm(self.seed, PPM, self.faults.clock_ppm)
        self._true_interval_s = interval_s / (1.0 + ppm * 1e-6)
        phase = 0.0 if self.seed is None else float(np.random.default_rng((self.seed, 2)).uniform())
        self._origin_s = self._sensor.now_s() - phase * averaging_s
        self._rest = b""
        self._begun_s, self._seq = 0.0, 0
        self._lock = threading.RLock()

    @property
    def options(self) -> dict[str, object]:
        """Its port, and the shunt."""
        return {**super().options, "shunt_ohm": self._shunt_ohm, "shunt_tolerance": self._shunt_tolerance}

    def heard(self, data: bytes) -> None:
        """Do what each line says."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._do(line.strip())

    def _do(self, command: bytes) -> None:
        if command == b"?":
            channels = "".join(str(number + 1) for number in range(self._ina.channels))
            interval_us, averaging_us = round(self._interval_s * 1e6), round(self._averaging_s * 1e6)
            self.say(
                sealed(
                    f"WFINA,{VERSION},{self._ina.name},{channels},{interval_us},{averaging_us},{SERIAL},{FIRMWARE}"
                )
            )
        elif command == b"S":
            self.stop_repeating()
            if self.faults.error:
                self.say(sealed(f"E1,{self.faults.error}"))
            if self.faults.delay_s:
                self.timebase.sleep(self.faults.delay_s)
            with self._lock:
                self._begun_s, self._seq = self._sensor.now_s(), 0
                # Before it is heard of: whoever hears may let time pass at once, and nobody else may from then on.
                self.repeat(self._interval_s, self._push)
                self.say(sealed("K1,S"), is_answer=False)
                self._push()
        elif command == b"X":
            self.stop_repeating()

    def _push(self) -> bool:
        """Send the samples that are due."""
        with self._lock:
            now_s = self._sensor.now_s() - self.faults.delay_s
            while (at_s := self._begun_s + self._seq * self._true_interval_s) <= now_s + 1e-9:
                self._send(at_s)
                self._seq += 1
        self.settled()
        return True

    def _send(self, at_s: float) -> None:
        past = math.floor((at_s - self._origin_s) / self._averaging_s + 1e-9)
        end_s = self._origin_s + past * self._averaging_s
        volts, amperes = self._sensor.mean(np.array([end_s - self._averaging_s]), np.array([end_s]))
        t_us = (BOOTED_US + round(self._seq * self._interval_s * 1e6)) % WRAP_US
        for channel in range(1, self._ina.channels + 1):
            current_a = float(amperes[0]) if channel == 1 else 0.0
            shunt, bus = self._ina.registers(current_a * self._shunt_ohm, float(volts[0]))
            self.say(sealed(f"W1,{self._seq},{t_us},{channel},{shunt:04X},{bus:04X}"), is_answer=False)
