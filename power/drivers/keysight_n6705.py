"""Keysight N6705 with a source-measure module N6781A or N6782A: the external data log (ELOG), averages of current and voltage.

Source: Keysight N6700-90902 / N6705-90001, programmer's reference of the N6700 modular power system (SENSe:ELOG, FETCh:ELOG,
INITiate:ELOG). The limits of error are figures of the N6781A's data sheet which were not read again for this driver: check them
against yours, or state `accuracy` in farm.toml.

The module feeds the board (or only measures): this driver leaves its output as it finds it. The log is taken out of a buffer that
holds about 20 s; its records are not numbered, so that a loss shows in the error queue or against the clock (Counted).
"""

from __future__ import annotations

from typing import Self

import numpy as np

from power.drivers.common.base import Block, Start, StreamedInstrument
from power.drivers.common.scpi_instrument import Counted, ScpiInstrument, binary_values, limited, out_of_step
from power.errors import NoReading, OptionInvalid, WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.specification import Specified, product_accuracy
from power.timebase import Timebase
from power.trace import Floats, Reading
from power.transports.scpi import ScpiLink
from power.uncertainty import GainOffset

MODULES = ("N6781A", "N6782A")
CURRENTS = {3.0: Specified(0.0003, 250e-6), 0.1: Specified(0.00025, 10e-6)}
VOLTAGES = {20.0: Specified(0.00025, 1.2e-3)}
SHORTEST_S = 102.4e-6
"""Of the period, for each quantity that is logged."""
LONGEST_S = 60.0
QUANTITIES = 2
BUFFER_S = 20.0
FETCHED_EACH_S = 0.5
AT_ONCE = 4096
"""Records that are asked for at a time."""
OVER_RANGE = 1.02
"""Readings go up to about so many times the range."""
ARMING_S = 0.1
"""Between INITiate and TRIGger."""


class KeysightN6705(ScpiInstrument, StreamedInstrument):
    """One channel of the mainframe."""

    driver = "keysight-n6705"
    models = ("N6705",)
    scope: Scope = "board"
    reading: Reading = "average"
    """Averages over the period, without a gap."""
    clock_ppm = 100.0

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        *,
        channel: int = 1,
        current_range_a: float = 3.0,
        voltage_range_v: float = 20.0,
        period_s: float = 1.024e-3,
        link: ScpiLink | None = None,
    ) -> None:
        super().__init__(resource, timebase, link)
        self._at = f"(@{channel})"
        self._range_a, self._range_v = current_range_a, voltage_range_v
        self._period_s = self.averaging_s = period_s
        self.fetch_s = out_of_step(period_s, FETCHED_EACH_S)
        self._counted: Counted | None = None
        self._fetched_ns = 0

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource, channel, current_range_a, voltage_range_v and period_s."""
        ranges = []
        for key, known in (("current_range_a", CURRENTS), ("voltage_range_v", VOLTAGES)):
            value = options.number(key, next(iter(known)))
            if value not in known:
                options.fail(f"{key} is {value:g}, but there are {', '.join(f'{one:g}' for one in known)}")
            ranges.append(value)
        return cls(
            options.text("resource"),
            timebase,
            channel=options.integer("channel", 1, low=1, high=4),
            current_range_a=ranges[0],
            voltage_range_v=ranges[1],
            period_s=options.number("period_s", 1.024e-3, low=QUANTITIES * SHORTEST_S, high=LONGEST_S),
        )

    @property
    def interval_s(self) -> float:
        """The period."""
        return self._period_s

    @property
    def setup_text(self) -> str | None:
        """Which of its outputs it is."""
        return f"output {self._at[2:-1]}"

    @property
    def range_text(self) -> str | None:
        """Both ranges, which are always fixed."""
        return f"{self._range_v:g} V / {self._range_a:g} A"

    def accuracy(self, voltage_v: float | None) -> GainOffset | None:
        """Return the limits of both; None as long as the voltage is not known, on which the share of its offset depends."""
        if voltage_v is None or voltage_v <= 0.0:
            return None
        return product_accuracy(
            VOLTAGES[self._range_v], CURRENTS[self._range_a], voltage_v, source="Keysight N6781A data sheet"
        )

    def begin(self) -> Start:
        """Arm, and trigger when it is ready for that."""
        self._write([f"INIT:ELOG {self._at}"])
        self._timebase.sleep(ARMING_S)
        earliest_ns = self._timebase.now_ns()
        self._write([f"TRIG:ELOG {self._at}"])
        self._check_errors()
        first_ns = round(self._period_s * 1e9)
        self._fetched_ns = self._timebase.now_ns()
        start = Start(earliest_ns + first_ns, self._fetched_ns + first_ns)
        self._counted = Counted(start, self._period_s, self.clock_ppm, self._resource)
        return start

    def fetch(self) -> Block | None:
        """Take all records out of the buffer. Raises NoReading if it was left for too long."""
        if self._counted is None:
            raise NoReading(f"The data log of '{self._resource}' was not started.")
        since_s = (self._timebase.now_ns() - self._fetched_ns) / 1e9
        if since_s > BUFFER_S:
            raise NoReading(
                f"The data log of '{self._resource}' was left for {since_s:.0f} s, but its buffer holds {BUFFER_S:g} s; "
                "this machine is too busy."
            )
        rows = self._rows()
        arrival_ns = self._fetched_ns = self._timebase.now_ns()
        first = self._counted.add(len(rows), arrival_ns)
        if len(rows) == 0:
            return None
        current_a, is_over = limited(rows[:, 0], OVER_RANGE * self._range_a, self._resource)
        voltage_v, is_above = limited(rows[:, 1], OVER_RANGE * self._range_v, self._resource)
        return Block(
            first, arrival_ns, voltage_v * current_a, voltage_v, current_a, clipped=is_over | is_above
        )

    def end(self) -> Block | None:
        """Take the rest and stop; errors that came up meanwhile, such as an overrun, make it invalid."""
        last = self.fetch()
        self._write([f"ABOR:ELOG {self._at}"])
        self._check_errors()
        self._counted = None
        return last

    def make_safe(self) -> None:
        """Stop the log and give the front panel back; the output stays as it is."""
        self._write_anyway([f"ABOR:ELOG {self._at}", "SYST:COMM:RLST LOC"])

    def _rows(self) -> Floats:
        parts = []
        while True:
            payload = self._connected.query_block(f"FETC:ELOG? {AT_ONCE},{self._at}")
            part = binary_values(payload, ">f4", QUANTITIES, self._resource)
            parts.append(part)
            if len(part) < AT_ONCE:
                return np.concatenate(parts)

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        module = link.query(f"SYST:CHAN:MOD? {self._at}").strip('" ')
        if module not in MODULES:
            raise WrongInstrument(
                f"Channel {self._at[2:-1]} of '{self._resource}' is a {module or 'an empty slot'}, but "
                f"the driver {self.driver} is for {', '.join(MODULES)}; correct channel in farm.toml."
            )
        at = self._at
        self._write(
            [
                "*CLS",
                f"ABOR:ELOG {at}",
                "FORM REAL",
                "FORM:BORD NORM",
                f"SENS:ELOG:FUNC:CURR ON,{at}",
                f"SENS:ELOG:FUNC:CURR:MINM OFF,{at}",
                f"SENS:ELOG:FUNC:VOLT ON,{at}",
                f"SENS:ELOG:FUNC:VOLT:MINM OFF,{at}",
                f"SENS:ELOG:CURR:RANG {self._range_a:g},{at}",
                f"SENS:ELOG:VOLT:RANG {self._range_v:g},{at}",
                f"SENS:ELOG:PER {self._period_s:.9g},{at}",
                f"TRIG:TRAN:SOUR BUS,{at}",
            ]
        )
        self._check_errors()
        period_s = self._number(f"SENS:ELOG:PER? {at}")
        if not 0.5 * self._period_s <= period_s <= 2.0 * self._period_s:
            raise OptionInvalid(
                f"'{self._resource}' logs each {period_s:g} s instead of {self._period_s:g} s; set period_s to what it can."
            )
        self._period_s = self.averaging_s = period_s
        self.fetch_s = out_of_step(period_s, FETCHED_EACH_S)
