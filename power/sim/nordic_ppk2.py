"""A simulated Nordic Power Profiler Kit II."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Unpack

import numpy as np

from power.drivers.common.ppk2_words import (
    CODES,
    COUNTER_SHIFT,
    COUNTERS,
    KEYS,
    LOGIC_SHIFT,
    RANGES,
    Modifiers,
    Words,
)
from power.drivers.nordic_ppk2 import LEAST_V, MOST_A, MOST_V, RATE_HZ
from power.sim.common.base import Settings
from power.sim.common.load import Load
from power.sim.common.pacing import clock_error_ppm
from power.sim.common.serialline import SerialSimulator
from power.specification import Specified
from power.trace import Floats

PPM = 50.0
SERIAL = "WATTFARM-SIM-1"
CURRENT = Specified(0.02, 2e-4)
ACCURACY = {"gain": 0.02, "offset_w": 0.001, "resolution_w": 0.005}
"""Its limits of error at 5 V; Nordic states none."""
UP_TO_A = (50e-6, 500e-6, 5e-3, 60e-3, math.inf)
"""Where it goes to the next range."""
CALIBRATION = Modifiers(
    ohm=(1003.3506, 101.5865, 10.3027, 0.9636, 0.0564),
    gain_square=(1.0, 0.8, 0.5, 0.2, 0.02),
    gain=(1.0, 0.9695, 0.9609, 0.9519, 0.9582),
    offset=(112.9420, 75.4627, 64.6020, 50.4983, 86.5270),
    per_volt=(0.0, 0.0, 0.0, 0.0, 0.0),
    current=(-1e-8, -2e-7, -1e-6, -1e-5, -2e-4),
)
LENGTHS = {0x06: 1, 0x07: 1, 0x0C: 2, 0x0D: 3, 0x11: 2, 0x15: 1, 0x16: 1, 0x19: 1, 0x20: 1}
"""Bytes of a command."""


class SimulatedNordicPpk2(SerialSimulator):
    """`logic` gives the inputs D0–D7 at some times of the host, as bits."""

    driver = "nordic-ppk2"
    sees_marker = True

    def __init__(
        self,
        load: Load,
        *,
        push_s: float = 0.02,
        logic: Callable[[Floats], Words] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(load, **settings)
        self._sensor = self.sensor_of(current=CURRENT)
        self._push_s, self._logic = push_s, logic
        ppm = clock_error_ppm(self.seed, PPM, self.faults.clock_ppm)
        self._interval_s = 1.0 / RATE_HZ / (1.0 + ppm * 1e-6)
        self._tables = CALIBRATION.table_a(load.supply_v)[:RANGES]
        self._commands = b""
        self._begun_s, self._made = 0.0, 0
        self._lock = threading.RLock()
        self.is_on = False
        """Whether the board has power."""
        self.mode, self.source_mv = 0, 0

    @property
    def options(self) -> dict[str, object]:
        """Its port, and the supply."""
        supply_v = min(MOST_V, max(LEAST_V, self.load.supply_v))
        found = {**super().options, "mode": "source", "supply_v": supply_v, "accuracy": dict(ACCURACY)}
        return found if self.load.line is None else {**found, "marker": 0}

    def heard(self, data: bytes) -> None:
        """Do what each command says; what is none is passed over."""
        self._commands += data
        while self._commands:
            length = LENGTHS.get(self._commands[0], 1)
            if len(self._commands) < length:
                return
            command, self._commands = self._commands[:length], self._commands[length:]
            self._do(command)

    def lose(self, samples: int) -> None:
        """Lose samples, as a kit does whose buffer ran over: what was due up to now comes first."""
        self._push()
        with self._lock:
            self._made += samples

    def _do(self, command: bytes) -> None:
        if command[0] == 0x06:
            self.stop_repeating()
            with self._lock:
                self._begun_s, self._made = self._sensor.now_s(), 0
                # Before it is heard of: whoever hears may let time pass at once.
                self.repeat(self._push_s, self._push)
                self._push()
        elif command[0] == 0x07:
            self.stop_repeating()
        elif command[0] == 0x0C:
            self.is_on = command[1] == 1
        elif command[0] == 0x0D:
            self.source_mv = int.from_bytes(command[1:], "big")
        elif command[0] == 0x11:
            self.mode = command[1]
        elif command[0] == 0x19:
            self.say(self._metadata().encode())

    def _metadata(self) -> str:
        lines = ["Calibrated: 0"]
        for key, name in KEYS.items():
            lines += [f"{key}{r}: {value:.9g}" for r, value in enumerate(getattr(CALIBRATION, name))]
        lines += [
            f"VDD: {round(self.load.supply_v * 1e3)}",
            "HW: 9173",
            "mode: 2",
            "IA: 56",
            f"SN: {SERIAL}",
            "END",
        ]
        return "\n".join(lines) + "\n"

    def _push(self) -> bool:
        """Send the samples that are due."""
        with self._lock:
            past_s = self._sensor.now_s() - self.faults.delay_s - self._begun_s
            due = math.floor(past_s / self._interval_s + 1e-6) + 1
            if due > self._made:
                index = np.arange(self._made, due)
                self._made = due
                self.say(self._words(index).tobytes(), is_answer=False)
        self.settled()
        return True

    def _words(self, index: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Words:
        times_s = np.asarray(self._begun_s + index * self._interval_s, np.float64)
        _, current_a = self._sensor.at(times_s)
        current_a = np.clip(current_a, 0.0, 1.02 * MOST_A)
        ranges = np.searchsorted(UP_TO_A, current_a)
        codes = np.zeros(len(index))
        for number in np.unique(ranges):
            here = ranges == number
            codes[here] = np.interp(current_a[here], self._tables[number], np.arange(CODES))
        words = np.rint(codes).astype(np.uint32) | (ranges.astype(np.uint32) << 14)
        words |= (index % COUNTERS).astype(np.uint32) << COUNTER_SHIFT
        if self._logic is not None:
            words |= self._logic(times_s).astype(np.uint32) << LOGIC_SHIFT
        elif self.load.line is not None:  # on D0
            words |= self.load.line.levels(times_s).astype(np.uint32) << LOGIC_SHIFT
        return words.astype("<u4")
