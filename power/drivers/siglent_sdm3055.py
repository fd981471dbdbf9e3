"""Siglent SDM3055: a multimeter that averages a current, or the voltage over a shunt.

Source: Siglent RC06035-E01A, "SDM3055 Remote Manual" (CONFigure, TRIGger:COUNt, R?, STATus:QUEStionable).

It measures all the time at a pace of its own, which no timer keeps. Therefore the readings that came since the last question are
taken out together: their mean is one sample, an average over the time between questions. Its memory holds 10 000 readings;
more overwrite the oldest, which only a bit tells (bit 14 of the Questionable register): that is no reading. Its current ranges
switch up by themselves on an overload, so that the range is asked for at the end. No data sheet was at hand for this driver, so
that nobody states its accuracy: state `accuracy` in farm.toml.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from power.drivers.common.base import PolledInstrument
from power.drivers.common.multimeter import Ranges, Wiring
from power.drivers.common.scpi_instrument import ScpiInstrument, ascii_values, limited
from power.errors import NoReading
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.scpi import ScpiLink
from power.uncertainty import Accuracy

CURRENTS: Ranges = {0.0002: None, 0.002: None, 0.02: None, 0.2: None, 2.0: None, 10.0: None}
VOLTAGES: Ranges = {0.2: None, 2.0: None, 20.0: None, 200.0: None, 1000.0: None}
READINGS_PER_S = {"0.3": 150.0, "1": 50.0, "10": 5.0}
"""Integration time in periods of the mains → readings a second, at 50 Hz about."""
MEMORY_READINGS = 10_000
MEMORY_OVERFLOW = 1 << 14
OVER_RANGE = 1.2
LEAST_READINGS = 5
"""Of an average, on average."""


class SiglentSdm3055(ScpiInstrument, PolledInstrument):
    """It runs freely from `begin` to `end`; a sample is the mean of the readings since the last one."""

    driver = "siglent-sdm3055"
    models = ("SDM3055",)
    scope: Scope = "board"
    reading: Reading = "average"
    """Averages over the time between questions."""

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        wiring: Wiring,
        *,
        nplc: str = "1",
        line_hz: float = 50.0,
        interval_s: float = 0.5,
        link: ScpiLink | None = None,
    ) -> None:
        super().__init__(resource, timebase, link)
        self._wiring, self._nplc = wiring, nplc
        self._reading_s = 50.0 / line_hz / READINGS_PER_S[nplc]
        self._interval_s = self.averaging_s = interval_s
        # The readings begin and end up to one reading beside the questions.
        self.time_bound_s = self._reading_s
        self._has_moved = False

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource, the wiring, nplc, line_hz and interval_s."""
        wiring = Wiring.from_options(options, CURRENTS, VOLTAGES)
        nplc = f"{options.number('nplc', 1.0):g}"
        if nplc not in READINGS_PER_S:
            options.fail(f"nplc is {nplc}, but there are {', '.join(READINGS_PER_S)}")
        line_hz = options.number("line_hz", 50.0, low=50.0, high=60.0)
        least_s = LEAST_READINGS / READINGS_PER_S[nplc]
        longest_s = 0.5 * MEMORY_READINGS / READINGS_PER_S[nplc]
        return cls(
            options.text("resource"),
            timebase,
            wiring,
            nplc=nplc,
            line_hz=line_hz,
            interval_s=options.number("interval_s", max(0.5, least_s), low=least_s, high=longest_s),
        )

    @property
    def interval_s(self) -> float:
        """Time between questions."""
        return self._interval_s

    @property
    def range_text(self) -> str | None:
        """The range that was set."""
        return self._wiring.range_text

    @property
    def setup_text(self) -> str | None:
        """What it is connected to."""
        return self._wiring.setup_text

    @property
    def same_range(self) -> bool:
        """Whether it is still on that range."""
        return not self._has_moved

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Nobody states it; farm.toml may."""
        return None

    def begin(self) -> None:
        """Let it run freely."""
        self._has_moved = False
        self._flags("STAT:QUES?")  # reading it clears what was before
        self._write(["INIT"])
        self._check_errors()
        self._timebase.sleep(2.0 * self._reading_s)

    def read(self) -> Sample:
        """Take the readings out of the memory and average them; a Sample without a value if there are none."""
        payload = self._connected.query_block("R?")
        now_ns = self._timebase.now_ns()
        if self._flags("STAT:QUES?") & MEMORY_OVERFLOW:
            raise NoReading(
                f"The memory of the multimeter at '{self._resource}' ran over and readings were lost; "
                "lower interval_s, so that it is asked more often."
            )
        readings = ascii_values(payload, self._resource)
        if len(readings) == 0:
            return Sample(now_ns)
        kept, over = limited(readings, OVER_RANGE * self._wiring.range_, self._resource)
        power_w, current_a = self._wiring.power(kept)
        return Sample(
            now_ns,
            power_w=float(np.mean(power_w)),
            current_a=float(np.mean(current_a)),
            is_clipped=bool(np.any(over)),
        )

    def end(self) -> None:
        """Stop it; see whether it is still on its range, and whether errors came up meanwhile."""
        self._write(["ABOR"])
        range_ = self._number(f"{self._wiring.quantity}:RANG?")
        self._has_moved = abs(range_ - self._wiring.range_) > 1e-3 * self._wiring.range_
        self._check_errors()

    def make_safe(self) -> None:
        """Stop it, let it measure on its front panel, and give that back."""
        self._write_anyway(["ABOR", "TRIG:COUN 1", "SYST:LOC"])

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        quantity = self._wiring.quantity
        self._write(
            [
                "*CLS",
                "ABOR",
                f"CONF:{quantity} {self._wiring.range_:g}",
                f"{quantity}:NPLC {self._nplc}",
                "TRIG:SOUR IMM",
                "TRIG:DEL 0",
                "SAMP:COUN 1",
                "TRIG:COUN INF",
            ]
        )
        self._check_errors()
