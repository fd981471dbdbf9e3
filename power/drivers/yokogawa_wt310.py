"""Yokogawa WT310, WT310E and their kin: power analysers that average over each update of their display.

Source: Yokogawa IM WT310E-17EN, "WT310E/WT310EH/WT332E/WT333E Digital Power Meter Communication Interface User's Manual"; the
specifications are those of IM WT310E-01EN (accuracy of power, 12 months, power factor 1).

Modes: "average" reads U, I and P at each update; "integration" lets the instrument count energy (WH) and reads the counter, as
long as the instrument says that it counts.

Ranges that are not given are left to the instrument, which may change them in mid-run: offsets do not cancel then. A fixed
current range of 200 mA or less goes to 1 A by itself on an overload: ranges are asked for again at the end. In RMS and VMEan mode
the instrument shows 0 for whatever is below 0.5 % of the range: such a reading is none.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from decimal import Decimal
from typing import Self

from power.drivers.common.base import PolledInstrument
from power.drivers.common.readings import step_of
from power.drivers.common.scpi_instrument import ScpiInstrument
from power.errors import NoReading, ReplyInvalid
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.scpi import TIMEOUT_S, ScpiLink
from power.uncertainty import GainOffset

MODELS = ("WT310", "WT332", "WT333")
VOLTAGE_RANGES_V = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
CURRENT_RANGES_A = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
UPDATES_S = {
    0.1: "100MS",
    0.25: "250MS",
    0.5: "500MS",
    1.0: "1S",
    2.0: "2S",
    5.0: "5S",
    10.0: "10S",
    20.0: "20S",
}
INPUTS = {"dc": ("DC", 0.001, 0.002), "rms": ("RMS", 0.001, 0.0005), "vmean": ("VMEan", 0.001, 0.0005)}
"""Input mode → its name, and the limits of error of power: of reading, of range (DC; 45 to 66 Hz)."""
LONGEST_INTEGRATION = "10000,0,0"
SEEN_LATE_S = 0.01
"""Time within which an update is noticed and read."""
COUNTING, RESET, TIMED_OUT = "STAR", "RES", "TIM"
"""States of the integration, in short form."""


class Wt310(ScpiInstrument, PolledInstrument):
    """One element of the instrument, element 1."""

    driver = "yokogawa-wt310"
    models = MODELS
    error_query = ":STATus:ERRor?"
    time_bound_s = SEEN_LATE_S

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        *,
        integrates: bool = False,
        voltage_range_v: float | None = None,
        current_range_a: float | None = None,
        update_s: float = 0.1,
        input_mode: str = "dc",
        link: ScpiLink | None = None,
    ) -> None:
        """`link` is for tests; else `resource` is opened by `connect`."""
        super().__init__(resource, timebase, link)
        self._integrates, self._period_s, self._input = integrates, update_s, input_mode
        self._ranges = (voltage_range_v, current_range_a)
        self._now = self._widest = (voltage_range_v or 0.0, current_range_a or 0.0)
        self._has_moved = False
        self._step_w = 0.0
        self.averaging_s = None if integrates else update_s
        self.update_s = update_s if integrates else None

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource, mode, voltage_range_v, current_range_a, update_s and input."""
        voltage_range_v = options.maybe("voltage_range_v", above=0.0)
        current_range_a = options.maybe("current_range_a", above=0.0)
        update_s = options.number("update_s", 0.1)
        for key, value, known in (
            ("voltage_range_v", voltage_range_v, VOLTAGE_RANGES_V),
            ("current_range_a", current_range_a, CURRENT_RANGES_A),
            ("update_s", update_s, tuple(UPDATES_S)),
        ):
            if value is not None and value not in known:
                options.fail(f"{key} is {value:g}, but a WT310 has {', '.join(f'{one:g}' for one in known)}")
        return cls(
            options.text("resource"),
            timebase,
            integrates=options.choice("mode", ("average", "integration"), "average") == "integration",
            voltage_range_v=voltage_range_v,
            current_range_a=current_range_a,
            update_s=update_s,
            input_mode=options.choice("input", tuple(INPUTS), "dc"),
        )

    @property
    def scope(self) -> Scope:  # type: ignore[override]
        """Direct current comes out of an adapter, alternating current out of the wall."""
        return "board" if self._input == "dc" else "wall"

    @property
    def reading(self) -> Reading:
        """Averages, or a counter."""
        return "counter" if self._integrates else "average"

    @property
    def interval_s(self) -> float:
        """The update period."""
        return self._period_s

    @property
    def poll_s(self) -> float:
        """Asked a little more often than it updates: the answer waits for the update."""
        return self._period_s if self._integrates else 0.9 * self._period_s

    @property
    def resolution_w(self) -> float | None:
        """The last place of the powers it sent, of the coarsest one; None before the first."""
        return self._step_w or None

    @property
    def range_text(self) -> str | None:
        """Voltage and current range, the widest ones since `begin`."""
        return f"{self._widest[0]:g} V / {self._widest[1]:g} A"

    @property
    def setup_text(self) -> str | None:
        """What it takes the mean of."""
        return f"input {INPUTS[self._input][0]}"

    @property
    def same_range(self) -> bool:
        """Whether the ranges stayed where they were at `begin`."""
        return not self._has_moved

    def accuracy(self, voltage_v: float | None) -> GainOffset:
        """Return the limits of error of power; the range of power is voltage range × current range."""
        _, of_reading, of_range = INPUTS[self._input]
        return GainOffset.from_limits(
            of_reading,
            of_range * self._widest[0] * self._widest[1],
            resolution_w=self._step_w,
            source="IM WT310E-01EN",
        )

    def begin(self) -> None:
        """Note the ranges; start the integration where it is wanted."""
        self._now = self._widest = self._asked_ranges()
        self._has_moved, self._step_w, self.step_j = False, 0.0, None
        if self._integrates:
            self._write(
                [
                    ":INTEGrate:RESet",
                    ":INTEGrate:MODE NORMal",
                    f":INTEGrate:TIMer {LONGEST_INTEGRATION}",
                    ":INTEGrate:STARt",
                ]
            )
            self._check_errors()
            self._check_counting()

    def read(self) -> Sample:
        """Wait for the next update and return it; in integration mode return the counter as it is."""
        link = self._connected
        if self._integrates:
            self._check_counting()
        else:
            link.query(":STATus:EESR?")
            link.write(":COMMunicate:WAIT 1")
        asked_ns = self._timebase.now_ns() if self._integrates else None
        with link.patience(TIMEOUT_S + self._period_s) if self._period_s > 1.0 else nullcontext():
            values = self._numbers(link.query(":NUMeric:NORMal:VALue?"))
        now_ns = self._timebase.now_ns()
        if self._is_automatic:
            self._note_ranges()
        is_over = any(value == math.inf for value in values)
        voltage_v, current_a, power_w, energy_wh = (None if v == math.inf else v for v in values)
        if self._is_suppressed(voltage_v, current_a):
            current_a = power_w = energy_wh = None
            is_over = True
        return Sample(
            now_ns if asked_ns is None else (asked_ns + now_ns) // 2 - self._mean_age_ns,
            power_w=None if self._integrates else power_w,
            voltage_v=voltage_v,
            current_a=current_a,
            energy_j=energy_wh * 3600.0 if self._integrates and energy_wh is not None else None,
            is_clipped=is_over,
        )

    @property
    def _mean_age_ns(self) -> int:
        """A counter is up to one update old, half of one in the mean; what that varies by is a part of the uncertainty."""
        return round(0.5e9 * self._period_s)

    def end(self) -> None:
        """Stop the integration; see whether the ranges are still the same, and whether errors came up meanwhile."""
        if self._integrates:
            self._write([":INTEGrate:STOP", ":INTEGrate:RESet"])  # until reset, no setting can be changed
        self._note_ranges()
        self._check_errors()

    def begin_ranging(self) -> bool:
        """Switch automatic ranges on."""
        self._ranges = (None, None)
        self._write_ranges()
        self._check_errors()
        return True

    def fix_ranges(self) -> None:
        """Keep the widest ranges that were needed since the last `begin`."""
        self._ranges = self._widest
        self._write_ranges()
        self._check_errors()
        self._now = self._widest
        self._has_moved = False

    def make_safe(self) -> None:
        """Stop the integration, let settings be changed again, and give the front panel back."""
        stop = [":INTEGrate:STOP", ":INTEGrate:RESet"] if self._integrates else []
        self._write_anyway([*stop, ":COMMunicate:REMote OFF"])

    @property
    def _is_automatic(self) -> bool:
        return None in self._ranges

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        self._write(["*CLS", ":COMMunicate:HEADer OFF"])
        state = self._state()
        if state == COUNTING:  # left by whoever measured before: no setting can be changed
            self._write([":INTEGrate:STOP"])
        if state != RESET:
            self._write([":INTEGrate:RESet"])
        self._write(
            [
                f":INPut:MODE {INPUTS[self._input][0]}",
                f":RATE {UPDATES_S[self._period_s]}",
                ":STATus:FILTer1 FALL",
                ":NUMeric:FORMat ASCii",
                ":NUMeric:NORMal:NUMBer 4",
                ":NUMeric:NORMal:ITEM1 U,1",
                ":NUMeric:NORMal:ITEM2 I,1",
                ":NUMeric:NORMal:ITEM3 P,1",
                ":NUMeric:NORMal:ITEM4 WH,1",
            ]
        )
        self._write_ranges()
        self._check_errors()
        self._now = self._widest = self._asked_ranges()

    def _write_ranges(self) -> None:
        link = self._connected
        for name, unit, value in (("VOLTage", "V", self._ranges[0]), ("CURRent", "A", self._ranges[1])):
            if value is None:
                link.write(f":INPut:{name}:AUTO ON")
            else:
                link.write(f":INPut:{name}:AUTO OFF")
                link.write(f":INPut:{name}:RANGe {value:g}{unit}")

    def _asked_ranges(self) -> tuple[float, float]:
        return self._number(":INPut:VOLTage:RANGe?"), self._number(":INPut:CURRent:RANGe?")

    def _note_ranges(self) -> None:
        now, widest = self._asked_ranges(), self._widest
        self._has_moved = self._has_moved or now != self._now
        self._now, self._widest = now, (max(widest[0], now[0]), max(widest[1], now[1]))

    def _is_suppressed(self, voltage_v: float | None, current_a: float | None) -> bool:
        """Whether a 0 stands for something too small to be shown, rather than for nothing."""
        return self._input != "dc" and (voltage_v == 0.0 or current_a == 0.0)

    def _state(self) -> str:
        """Return the state of the integration in short form."""
        answer = self._connected.query(":INTEGrate:STATe?").strip().upper()
        return "RES" if answer.startswith("RES") else answer[:4].removesuffix("E")

    def _check_counting(self) -> None:
        state = self._state()
        if state == COUNTING:
            return
        why = {
            TIMED_OUT: "its timer has run out",
            "ERR": "its integration ended in an error, such as an overflow or a loss of power",
            "STOP": "somebody stopped its integration",
            RESET: "somebody reset its integration",
        }.get(state, f"its integration is in the state '{state}'")
        raise NoReading(
            f"The power analyser at '{self._resource}' does not count energy any more: {why}; measure again."
        )

    def _numbers(self, answer: str) -> list[float | None]:
        """Read U, I, P, WH: None is "no data" (NAN), infinity is over the range (INF)."""
        fields = answer.split(",")
        if len(fields) != 4:
            raise ReplyInvalid(
                f"'{self._resource}' answered {len(fields)} values instead of 4: '{answer[:60]}'."
            )
        try:
            values = [float(field) for field in fields]
        except ValueError:
            raise ReplyInvalid(
                f"'{self._resource}' answered '{answer[:60]}', which holds no four numbers."
            ) from None
        self._note_steps(fields[2], fields[3])
        return [None if math.isnan(value) else value for value in values]

    def _note_steps(self, power: str, energy: str) -> None:
        """Keep the coarsest last places of what is sent: another range may print fewer."""
        self._step_w = max(self._step_w, step_of(Decimal(power)) or 0.0)
        step_wh = step_of(Decimal(energy)) if self._integrates else None
        if step_wh is not None:
            self.step_j = max(self.step_j or 0.0, step_wh * 3600.0)
