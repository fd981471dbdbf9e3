"""A simulated Watts up? PRO: version, choice of fields, external logging each second."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from power.drivers.wattsup_pro import FIELDS, SIMULATED, Packets
from power.sim.common.base import Settings
from power.sim.common.load import Load
from power.sim.common.serialline import SerialSimulator
from power.specification import Specified

LIMITS = Specified(0.015, 0.3)
"""Of power: of reading, W."""


class SimulatedWattsUpPro(SerialSimulator):
    """At the mains; power factor 1."""

    driver = "wattsup-pro"
    supply_v = 230.0

    def __init__(self, load: Load, **settings: Unpack[Settings]) -> None:
        super().__init__(load, **settings)
        self._sensor = self.sensor_of(current=Specified(LIMITS.of_reading, LIMITS.offset / load.supply_v))
        self._packets = Packets()
        self._chosen = 0
        self._begun_s = 0.0
        self._sent_s = 0.0

    def heard(self, data: bytes) -> None:
        """Do what each packet says."""
        for fields in self._packets.feed(data.replace(b"\x18", b"")):
            self._do(fields)

    def _do(self, fields: list[str]) -> None:
        command, kind = fields[0].upper(), fields[1].upper()
        if command == "V":
            self.say(f"#v,-,8,1,0,0,2,3,41,{SIMULATED},0;\r\n".encode())
        elif command == "C" and kind == "W":
            self._chosen = fields[3:].count("1")
        elif command == "L":
            self.stop_repeating()
            if kind == "W" and fields[3] == "E":
                self._begin(float(fields[5]))

    def _begin(self, interval_s: float) -> None:
        self._sent_s = self._sensor.now_s()
        self.repeat(interval_s, self._tick)

    def _tick(self) -> bool:
        now_s = self._sensor.now_s()
        volts, amperes = self._sensor.mean(np.array([self._sent_s]), np.array([now_s]))
        self._sent_s = now_s
        self.say(self._packet(float(volts[0]), float(amperes[0])))
        self.settled()
        return True

    def _packet(self, volts: float, amperes: float) -> bytes:
        watts = max(0, round(volts * amperes * 10.0))
        known = [watts, round(volts * 10.0), max(0, round(amperes * 1000.0))]
        values = [str(value) for value in known] + ["_"] * (FIELDS - len(known))
        return f"#d,-,{FIELDS},{','.join(values)};\r\n".encode()
