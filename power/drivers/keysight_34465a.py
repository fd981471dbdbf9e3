"""Keysight 34465A and 34470A: multimeters that digitise one current (or the voltage over a shunt) at up to 50 kS/s.

Source: Keysight 34460-90901, "Truevolt Series Digital Multimeters, Operating and Service Guide" (SAMPle, DATA, FORMat).
The limits of error are 1-year figures of the data sheet 5991-1983EN which were not read again for this driver: check them against
yours, or state `accuracy` in farm.toml. Those of the ranges below 1 A and 10 V are the (wider) ones of the 34461A.

Readings are averages over the aperture, which is a little shorter than the time between readings. Autozero would cost half of all
readings, so that it is done once, before each recording.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from power.drivers.common.base import Block, Start, StreamedInstrument
from power.drivers.common.multimeter import Ranges, Wiring, of_range
from power.drivers.common.scpi_instrument import ScpiInstrument, binary_values, limited, out_of_step
from power.errors import NoReading, OptionInvalid
from power.meter import Identity, Scope
from power.options import Options
from power.timebase import Timebase
from power.trace import Reading
from power.transports.scpi import ScpiLink
from power.uncertainty import GainOffset

CURRENTS: Ranges = {
    0.01: of_range(0.01, 0.05, 0.02),
    0.1: of_range(0.1, 0.05, 0.005),
    1.0: of_range(1.0, 0.08, 0.01),
    3.0: of_range(3.0, 0.2, 0.02),
    10.0: of_range(10.0, 0.12, 0.01),
}
VOLTAGES: Ranges = {
    0.1: of_range(0.1, 0.005, 0.0035),
    1.0: of_range(1.0, 0.004, 0.0007),
    10.0: of_range(10.0, 0.003, 0.0004),
}
FASTEST_HZ = 50e3
SHORTEST_APERTURE_S = 20e-6
APERTURE_STEP_S = 2e-6
APERTURE_PART = 0.8
"""Of the time between readings that the aperture takes, where none is given."""
STANDARD_MEMORY, LARGE_MEMORY = 50_000, 2_000_000
EMPTIED_HZ = 10e3
"""Up to this rate the memory is emptied while it records; above it, a recording has to fit into the memory."""
EMPTIED_EACH_S = 0.25
OVER_RANGE = 1.2
"""Readings go up to so many times the range."""
MEMORY_OVERFLOW = 1 << 14
"""Of the Questionable Data register."""


class Keysight34465a(ScpiInstrument, StreamedInstrument):
    """One recording at a time; readings are taken out of the memory while it records."""

    driver = "keysight-34465a"
    models = ("34465A", "34470A")
    scope: Scope = "board"
    reading: Reading = "average"
    """Averages over the aperture."""
    clock_ppm = 100.0

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        wiring: Wiring,
        *,
        rate_hz: float = 1000.0,
        aperture_s: float | None = None,
        memory_readings: int = STANDARD_MEMORY,
        link: ScpiLink | None = None,
    ) -> None:
        super().__init__(resource, timebase, link)
        self._wiring, self._memory = wiring, memory_readings
        self._interval_s = 1.0 / rate_hz
        self.averaging_s = aperture_s or _aperture_s(self._interval_s)
        self._most_readings = memory_readings
        self._count = 0
        self.fetch_s = out_of_step(self._interval_s, EMPTIED_EACH_S)

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource, the wiring, rate_hz, aperture_s and memory_readings."""
        wiring = Wiring.from_options(options, CURRENTS, VOLTAGES)
        rate_hz = options.number("rate_hz", 1000.0, low=0.1, high=FASTEST_HZ)
        aperture_s = options.maybe("aperture_s", low=SHORTEST_APERTURE_S, high=1.0)
        if aperture_s is not None and aperture_s > 1.0 / rate_hz:
            options.fail(
                f"aperture_s is {aperture_s:g}, longer than the {1.0 / rate_hz:g} s between readings"
            )
        return cls(
            options.text("resource"),
            timebase,
            wiring,
            rate_hz=rate_hz,
            aperture_s=aperture_s,
            memory_readings=options.integer("memory_readings", STANDARD_MEMORY, low=1, high=LARGE_MEMORY),
        )

    @property
    def interval_s(self) -> float:
        """Time between readings."""
        return self._interval_s

    @property
    def range_text(self) -> str | None:
        """The range, which is always fixed."""
        return self._wiring.range_text

    @property
    def setup_text(self) -> str | None:
        """What it is connected to."""
        return self._wiring.setup_text

    def accuracy(self, voltage_v: float | None) -> GainOffset | None:
        """Return the limits of the range, with those of supply and shunt."""
        ranges = CURRENTS if self._wiring.function == "current" else VOLTAGES
        return self._wiring.accuracy(ranges[self._wiring.range_], "Keysight 5991-1983EN")

    def fit(self, duration_s: float) -> None:
        """Refuse recordings that neither fit into the memory nor can be taken out of it in time."""
        needed = math.ceil(duration_s / self._interval_s)
        if 1.0 / self._interval_s <= EMPTIED_HZ and needed <= self._most_readings:
            return
        room = min(self._memory, self._most_readings)
        if needed <= room:
            return
        fits_hz = max(room / duration_s, min(EMPTIED_HZ, self._most_readings / duration_s))
        larger = (
            f", or (if the instrument has the memory option) memory_readings = {LARGE_MEMORY}"
            if needed <= LARGE_MEMORY and self._memory < LARGE_MEMORY
            else ""
        )
        raise OptionInvalid(
            f"{needed} readings in {duration_s:g} s do not fit into the multimeter's {room}; what fits is "
            f"rate_hz = {min(fits_hz, FASTEST_HZ):.6g}, or {room * self._interval_s:.3g} s{larger}."
        )

    def begin(self) -> Start:
        """Zero once, then start."""
        self._count = 0
        self._write([f"{self._wiring.quantity}:ZERO:AUTO ONCE"])
        self._flags("STAT:QUES?")  # reading it clears what was before
        earliest_ns = self._timebase.now_ns()
        self._write(["INIT"])
        self._check_errors()
        first_ns = round((self.averaging_s or 0.0) * 1e9)
        return Start(earliest_ns + first_ns, self._timebase.now_ns() + first_ns)

    def fetch(self) -> Block | None:
        """Take all readings out of the memory. Raises NoReading if it ran over."""
        available = int(self._number("DATA:POIN?"))
        arrival_ns = self._timebase.now_ns()
        if available == 0:
            return None
        readings = binary_values(
            self._connected.query_block(f"DATA:REM? {available}"), ">f8", 1, self._resource
        )[:, 0]
        if self._flags("STAT:QUES?") & MEMORY_OVERFLOW:
            raise NoReading(
                f"The memory of the multimeter at '{self._resource}' ran over and readings were lost; lower rate_hz."
            )
        if len(readings) != available:
            raise NoReading(
                f"The multimeter at '{self._resource}' gave {len(readings)} readings instead of {available}; measure again."
            )
        return self._block(np.ascontiguousarray(readings), arrival_ns)

    def end(self) -> Block | None:
        """Stop and take the rest; errors that came up meanwhile make it invalid."""
        self._write(["ABOR"])
        last = self.fetch()
        self._check_errors()
        return last

    def make_safe(self) -> None:
        """Stop, measure continuously on the front panel again, and give that back."""
        self._write_anyway(["ABOR", f"{self._wiring.quantity}:ZERO:AUTO ON", "SYST:LOC"])

    def _block(self, readings: np.ndarray, arrival_ns: int) -> Block:
        kept, clipped = limited(readings, OVER_RANGE * self._wiring.range_, self._resource)
        power_w, current_a = self._wiring.power(kept)
        first, self._count = self._count, self._count + len(kept)
        return Block(first, arrival_ns, power_w, current_a=current_a, clipped=clipped)

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        quantity, range_ = self._wiring.quantity, self._wiring.range_
        is_high_current = self._wiring.function == "current" and range_ > 3.0
        self._write(["*CLS", "ABOR", f"CONF:{quantity} {range_:g}"])
        if is_high_current:
            self._write([f"{quantity}:TERM 10"])
        self._write(
            [
                f"{quantity}:ZERO:AUTO OFF",
                f"{quantity}:APER {self.averaging_s:.9g}",
                "TRIG:SOUR IMM",
                "TRIG:COUN 1",
                "TRIG:DEL 0",
                "SAMP:SOUR TIM",
            ]
        )
        self._check_errors()
        shortest_s = self._number("SAMP:TIM? MIN")
        if self._interval_s < shortest_s * (1.0 - 1e-6):
            raise OptionInvalid(
                f"With aperture_s = {self.averaging_s:g} the multimeter at '{self._resource}' takes a reading each "
                f"{shortest_s:g} s at best; set rate_hz = {1.0 / shortest_s:.6g} or less, or a shorter aperture_s."
            )
        self._most_readings = int(self._number("SAMP:COUN? MAX"))
        self._write(
            [
                f"SAMP:TIM {self._interval_s:.9g}",
                f"SAMP:COUN {self._most_readings}",
                "FORM:DATA REAL,64",
                "FORM:BORD NORM",
            ]
        )
        self._check_errors()
        self.averaging_s = self._number(f"{quantity}:APER?")
        self._interval_s = self._number("SAMP:TIM?")
        self.fetch_s = out_of_step(self._interval_s, EMPTIED_EACH_S)


def _aperture_s(interval_s: float) -> float:
    steps = math.floor(APERTURE_PART * min(interval_s, 1.0) / APERTURE_STEP_S)
    return max(SHORTEST_APERTURE_S, steps * APERTURE_STEP_S)
