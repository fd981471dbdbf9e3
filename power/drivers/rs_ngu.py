"""Rohde & Schwarz NGU and NGM: source-measure units and supplies whose FastLog streams voltage and current at up to 500 kS/s.

Source: R&S NGU user manual 1179.2531, R&S NGL/NGM user manual 1178.8736, "FastLog" (FLOG:SRATe, TARGet, STATe, DATA?, and the
bits "FastLog data available" and "FastLog data skipped" of the instrument's status registers).

Data come in pieces of 250 ms, whatever the rate, and a piece that is not fetched is overwritten, which the instrument tells
(`SKIPPED`): that is no reading. The manual does not say what a sample averages over below the highest rate; they are taken as
momentary. No data sheet was at hand for this driver, so that nobody states its accuracy: state `accuracy` in farm.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from power.drivers.common.base import Block, Start, StreamedInstrument
from power.drivers.common.scpi_instrument import Counted, ScpiInstrument, binary_values, limited, out_of_step
from power.errors import NoReading, OptionInvalid
from power.meter import Identity, Scope
from power.options import Options
from power.timebase import Timebase
from power.trace import Reading
from power.transports.scpi import ScpiLink
from power.uncertainty import Accuracy

RATES = {100.0: "S100", 1e3: "S001k", 10e3: "S010k", 50e3: "S050k", 250e3: "S250k", 500e3: "S500k"}
PIECE_S = 0.25
ASKED_S = out_of_step(PIECE_S, 0.05)
"""Time between questions."""
CHANNELS = {"NGU201": 1, "NGU401": 1, "NGM201": 1, "NGM202": 2}
AVAILABLE = 1 << 12
"""Of the operation register of the channel."""
SKIPPED = 1 << 11
"""Of the questionable register of the channel."""
STARTS_WITHIN_S = 0.02
"""After FLOG:STATe 1; the manual states nothing."""
WITHOUT_LIMIT = 1e6
OVER_RANGE = 1.05


class RsNgu(ScpiInstrument, StreamedInstrument):
    """One channel."""

    driver = "rs-ngu"
    models = tuple(CHANNELS)
    scope: Scope = "board"
    reading: Reading = "instantaneous"
    """Momentary values."""
    clock_ppm = 100.0
    fetch_s = ASKED_S
    rates: ClassVar[Mapping[float, str]] = RATES

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        *,
        channel: int = 1,
        current_range_a: float | None = None,
        rate_hz: float = 10e3,
        link: ScpiLink | None = None,
    ) -> None:
        super().__init__(resource, timebase, link)
        self._channel, self._range_a, self._rate_hz = channel, current_range_a, rate_hz
        self._counted: Counted | None = None

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource, channel, current_range_a and rate_hz."""
        rate_hz = options.number("rate_hz", 10e3)
        if rate_hz not in cls.rates:
            options.fail(
                f"rate_hz is {rate_hz:g}, but there are {', '.join(f'{one:g}' for one in cls.rates)}"
            )
        return cls(
            options.text("resource"),
            timebase,
            channel=options.integer("channel", 1, low=1, high=2),
            current_range_a=options.maybe("current_range_a", above=0.0),
            rate_hz=rate_hz,
        )

    @property
    def interval_s(self) -> float:
        """Time between samples."""
        return 1.0 / self._rate_hz

    @property
    def tail_s(self) -> float:
        """A piece has to be full before it comes."""
        return 2.0 * (PIECE_S + self.fetch_s)

    @property
    def setup_text(self) -> str | None:
        """Which of its outputs it is."""
        return f"output {self._channel}"

    @property
    def range_text(self) -> str | None:
        """The current range; None where the instrument chooses it."""
        return None if self._range_a is None else f"{self._range_a:g} A"

    @property
    def same_range(self) -> bool:
        """Automatic ranges may differ from sample to sample, unseen."""
        return self._range_a is not None

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Nobody states it; farm.toml may."""
        return None

    def begin(self) -> Start:
        """Empty the registers and start."""
        self._flags(self._operation)
        self._flags(self._questionable)
        earliest_ns = self._timebase.now_ns()
        self._write(["FLOG:STAT 1"])
        self._check_errors()
        start = Start(earliest_ns, self._timebase.now_ns() + round(STARTS_WITHIN_S * 1e9))
        self._counted = Counted(start, self.interval_s, self.clock_ppm, self._resource)
        return start

    def fetch(self) -> Block | None:
        """Take a piece if there is one. Raises NoReading if one was overwritten."""
        if self._counted is None:
            raise NoReading(f"The FastLog of '{self._resource}' was not started.")
        is_available = self._flags(self._operation) & AVAILABLE
        if self._flags(self._questionable) & SKIPPED:
            raise NoReading(
                f"'{self._resource}' skipped samples because they were not fetched in time; lower rate_hz, or use its LAN port."
            )
        if not is_available:
            self._counted.add(0, self._timebase.now_ns())
            return None
        payload = self._connected.query_block("FLOG:DATA?")
        arrival_ns = self._timebase.now_ns()
        rows = binary_values(payload, "<f4", 2, self._resource)
        first = self._counted.add(len(rows), arrival_ns)
        if len(rows) == 0:
            return None
        limit_a = WITHOUT_LIMIT if self._range_a is None else OVER_RANGE * self._range_a
        voltage_v, _ = limited(rows[:, 0], WITHOUT_LIMIT, self._resource)
        current_a, is_over = limited(rows[:, 1], limit_a, self._resource)
        return Block(first, arrival_ns, voltage_v * current_a, voltage_v, current_a, clipped=is_over)

    def end(self) -> Block | None:
        """Take the last full piece and stop; errors that came up meanwhile make it invalid."""
        last = self.fetch()
        self._write(["FLOG:STAT 0"])
        self._check_errors()
        self._counted = None
        return last

    def make_safe(self) -> None:
        """Stop the log and give the front panel back; the output stays as it is."""
        self._write_anyway(["FLOG:STAT 0", "SYST:LOC"])

    @property
    def _operation(self) -> str:
        return f"STAT:OPER:INST:ISUM{self._channel}:EVEN?"

    @property
    def _questionable(self) -> str:
        return f"STAT:QUES:INST:ISUM{self._channel}:EVEN?"

    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        channels = next(count for name, count in CHANNELS.items() if (identity.model or "").startswith(name))
        if self._channel > channels:
            raise OptionInvalid(
                f"channel is {self._channel}, but the {identity.model} at '{self._resource}' has {channels} only."
            )
        commands = [
            "*CLS",
            "FLOG:STAT 0",
            f"INST OUT{self._channel}",
            "FLOG:TARG SCPI",
            f"FLOG:SRAT {self.rates[self._rate_hz]}",
            f"STAT:OPER:INST:ISUM{self._channel}:PTR {AVAILABLE}",
            f"STAT:QUES:INST:ISUM{self._channel}:PTR {SKIPPED}",
            "SENS:CURR:RANG:AUTO ON",
        ]
        if self._range_a is not None:
            commands[-1:] = ["SENS:CURR:RANG:AUTO OFF", f"SENS:CURR:RANG {self._range_a:g}"]
        self._write(commands)
        self._check_errors()
