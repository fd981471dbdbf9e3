"""Any instrument that answers SCPI queries for power, or for voltage and current: farm.toml says which.

Source: SCPI-1999; the commands are those of the manual of the instrument at hand.

    identification   regular expression that the answer to *IDN? must match
    set_up           commands sent once, before the first reading; make_safe: commands sent at the end
    power_query      query for power, W; or voltage_query and current_query, V and A; or current_query with supply_v
    reading          "instantaneous", or "average" over averaging_s before the answer
    interval_s       time between readings
    error_query      query of the error queue, "none" if there is none
    accuracy         limits of error, which nobody else can state
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Self

from power.drivers.common.base import PolledInstrument
from power.drivers.common.scpi_instrument import ScpiInstrument, number, value_or_none
from power.errors import NoReading, WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.scpi import ScpiLink
from power.uncertainty import Accuracy

SHORTEST_S = 0.01


class GenericScpi(ScpiInstrument, PolledInstrument):
    """Asks one query, or two one after the other, for each reading."""

    driver = "scpi"
    models = ()
    scope: Scope = "board"

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        *,
        identification: str,
        power_query: str | None = None,
        voltage_query: str | None = None,
        current_query: str | None = None,
        supply_v: float | None = None,
        averaging_s: float | None = None,
        interval_s: float = 0.5,
        set_up: Sequence[str] = (),
        safe: Sequence[str] = (),
        error_query: str | None = "SYST:ERR?",
        link: ScpiLink | None = None,
    ) -> None:
        super().__init__(resource, timebase, link)
        self._identification = re.compile(identification)
        self._power, self._voltage, self._current = power_query, voltage_query, current_query
        self._supply_v, self._interval_s = supply_v, interval_s
        self._set_up_commands, self._safe_commands = set_up, safe
        self._has_errors = error_query is not None
        self.error_query = error_query or ""
        self.averaging_s = averaging_s
        self._slowest_ns = 0

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take the keys that the module describes."""
        power, voltage, current = (
            options.text(key) if key in options else None
            for key in ("power_query", "voltage_query", "current_query")
        )
        supply_v = options.maybe("supply_v", above=0.0)
        known = (power is not None, voltage is not None, current is not None, supply_v is not None)
        if known not in (
            (True, False, False, False),
            (False, True, True, False),
            (False, False, True, True),
        ):
            options.fail(
                "give power_query, or voltage_query and current_query, or current_query and supply_v, and nothing more of these"
            )
        is_average = options.choice("reading", ("instantaneous", "average"), "instantaneous") == "average"
        if not is_average and "averaging_s" in options:
            options.fail("averaging_s goes with reading = 'average' only")
        pattern = options.text("identification")
        try:
            re.compile(pattern)
        except re.error as error:
            options.fail(f"identification is no regular expression ({error})")
        error_query = options.text("error_query", "SYST:ERR?")
        return cls(
            options.text("resource"),
            timebase,
            identification=pattern,
            power_query=power,
            voltage_query=voltage,
            current_query=current,
            supply_v=supply_v,
            averaging_s=options.number("averaging_s", above=0.0) if is_average else None,
            interval_s=options.number("interval_s", 0.5, low=SHORTEST_S),
            set_up=options.names("set_up"),
            safe=options.names("make_safe"),
            error_query=None if error_query == "none" else error_query,
        )

    @property
    def reading(self) -> Reading:
        """As farm.toml says."""
        return "instantaneous" if self.averaging_s is None else "average"

    @property
    def interval_s(self) -> float:
        """Time between readings."""
        return self._interval_s

    @property
    def setup_text(self) -> str | None:
        """What is asked for, and the supply's voltage where that is given."""
        queries = [query for query in (self._power, self._voltage, self._current) if query is not None]
        given = [] if self._supply_v is None else [f"supply taken as {self._supply_v:.6g} V"]
        return ", ".join([*queries, *given])

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Nobody states it; farm.toml may."""
        return None

    def begin(self) -> None:
        """Forget how slow it was before."""
        self.time_bound_s = 0.0

    def read(self) -> Sample:
        """Ask; the time is the middle of asking, and how far it may be off is half of that."""
        asked_ns = self._timebase.now_ns()
        voltage_v = self._asked(self._voltage)
        current_a = self._asked(self._current)
        power_w = self._asked(self._power)
        now_ns = self._timebase.now_ns()
        self.time_bound_s = max(self.time_bound_s, (now_ns - asked_ns) / 2e9)
        is_over = any(value is not None and math.isinf(value) for value in (voltage_v, current_a, power_w))
        if is_over:
            return Sample((asked_ns + now_ns) // 2, is_clipped=True)
        if self._power is None:
            known_v = self._supply_v if self._voltage is None else voltage_v
            power_w = None if known_v is None or current_a is None else known_v * current_a
        return Sample(
            (asked_ns + now_ns) // 2,
            power_w=power_w,
            voltage_v=voltage_v,
            current_a=current_a,
            is_clipped=False,
        )

    def end(self) -> None:
        """Errors that came up meanwhile make it invalid."""
        self._errors()

    def make_safe(self) -> None:
        """Send the commands that farm.toml names for that."""
        self._write_anyway(self._safe_commands)

    def _asked(self, query: str | None) -> float | None:
        if query is None:
            return None
        answer = self._connected.query(query)
        if not answer:
            raise NoReading(f"'{self._resource}' answered '{query}' with nothing.")
        return value_or_none(number(answer, query, self._resource))

    def _check_identity(self, identity: Identity) -> None:
        fields = (identity.maker, identity.model, identity.serial, identity.firmware)
        answer = ",".join(field or "" for field in fields)
        if not self._identification.search(answer):
            raise WrongInstrument(
                f"'{self._connected.address}' says it is '{answer}', which does not match identification = "
                f"'{self._identification.pattern}'; correct either in farm.toml."
            )

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        if self._has_errors:
            self._write(["*CLS"])
        self._write(self._set_up_commands)
        self._errors()

    def _errors(self) -> None:
        if self._has_errors:
            self._check_errors()
