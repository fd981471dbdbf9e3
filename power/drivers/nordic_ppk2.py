"""Nordic Power Profiler Kit II: up to 1 A at 100 kS/s, with eight logic inputs beside.

Sources: those of power/drivers/common/ppk2_words.py; Nordic, "Power Profiler Kit II User Guide" (0.8 to 5 V, 1 A, logic port).

The kit measures no voltage: power is current × supply_v. Samples carry a counter of 6 bits: of a loss it tells the length modulo
64, and where the clock shows that more is missing, the recording is refused. A logic input is the marker of the board's GPIO.

The kit feeds the board, or sits in its supply. Its output is switched on where `switch_on` is not false, and never off: neither
`make_safe` nor an error cuts a board's power. Nordic states no limit of error for power: state `accuracy` in farm.toml.
"""

from __future__ import annotations

from typing import Self

from power.drivers.common.base import SIMULATED_SERIAL, Block, Start, StreamedInstrument
from power.drivers.common.ppk2_words import LOGIC_SHIFT, Converter, Modifiers, WordStream, parse_metadata
from power.drivers.common.serial_instrument import SerialStream
from power.errors import LinkLost, NoReading, ReplyInvalid, WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.timebase import Timebase
from power.trace import Reading
from power.transports.reader import LineReader
from power.transports.serialport import Line
from power.uncertainty import Accuracy

BAUD = 115200
"""Nominal: it is a USB device."""
RATE_HZ = 100e3
LEAST_V, MOST_V = 0.8, 5.0
MOST_A = 1.0
START, STOP, METADATA = b"\x06", b"\x07", b"\x19"
SWITCH_ON = b"\x0c\x01"
MODES = {"ampere": b"\x11\x01", "source": b"\x11\x02"}
REPLY_S = 1.0
QUIET_S = 0.02
SILENCE_S = 2.0
LOOKS, LOOK_SAMPLES = 20, 500
BEFORE, AFTER = 20, 20
"""Fetches whose shortest delays are compared where samples were lost."""
LATER_SAMPLES = 40.0
"""By so much more delay, a loss was longer than the counter tells, by a multiple of 64; by so much less, samples came twice."""
BEHIND_S = 0.5


def set_voltage(supply_v: float) -> bytes:
    """Return the command that sets the source's voltage, in mV."""
    return b"\x0d" + round(supply_v * 1e3).to_bytes(2, "big")


class NordicPpk2(SerialStream, StreamedInstrument):
    """One kit."""

    driver = "nordic-ppk2"
    stop_command = STOP
    scope: Scope = "board"
    reading: Reading = "instantaneous"
    """Momentary values."""
    interval_s = 1.0 / RATE_HZ
    clock_ppm = 100.0
    fetch_s = 0.05

    def __init__(
        self,
        port: str,
        timebase: Timebase,
        *,
        supply_v: float,
        mode: str = "ampere",
        marker: int | None = None,
        switch_on: bool = True,
        spike_filter: bool = True,
        line: Line | None = None,
    ) -> None:
        super().__init__(port, timebase, BAUD, line)
        self._supply_v, self._mode, self._marker = supply_v, mode, marker
        self._switch_on, self._spike_filter = switch_on, spike_filter
        self._modifiers = Modifiers()
        self._words, self._converter = WordStream(), Converter(self._modifiers.table_a(supply_v))
        self._lateness = _Lateness(0, port)
        self._heard_ns = 0

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take port, mode, supply_v, marker, switch_on and spike_filter."""
        return cls(
            options.text("port"),
            timebase,
            supply_v=options.number("supply_v", low=LEAST_V, high=MOST_V),
            mode=options.choice("mode", tuple(MODES), "ampere"),
            marker=options.integer("marker", low=0, high=7) if "marker" in options else None,
            switch_on=options.flag("switch_on", True),
            spike_filter=options.flag("spike_filter", True),
        )

    @property
    def tail_s(self) -> float:
        """What is under way."""
        return 2.0 * self.fetch_s

    @property
    def range_text(self) -> str | None:
        """It changes its range from sample to sample."""
        return f"{self._mode}, {self._supply_v:g} V"

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Nobody states it; farm.toml may."""
        return None

    def begin(self) -> Start:
        """Start; samples are read in a thread from now on."""
        line = self._connected
        line.quieten(QUIET_S, REPLY_S)
        self._words = WordStream()
        self._converter = Converter(self._modifiers.table_a(self._supply_v), self._spike_filter)
        earliest_ns = self._timebase.now_ns()
        line.write(START)
        self._reader = LineReader(line)
        self._await_first(self._reader)
        self._heard_ns = self._timebase.now_ns()
        self._lateness = _Lateness(earliest_ns, self._port)
        return Start(earliest_ns, self._heard_ns)

    def fetch(self) -> Block | None:
        """Return what came. Raises LinkLost if nothing does any more, NoReading if more was lost than the counter tells."""
        if self._reader is None:
            raise NoReading(f"The Power Profiler Kit at '{self._port}' was not started.")
        pieces = self._reader.take()
        words, numbers = self._words.feed(b"".join(data for data, _ in pieces))
        now_ns = self._timebase.now_ns()
        if len(words) == 0:
            if now_ns - self._heard_ns > SILENCE_S * 1e9:
                raise LinkLost(
                    f"The Power Profiler Kit at '{self._port}' sent no sample for {(now_ns - self._heard_ns) / 1e9:.1f} s; "
                    "check its cable and that nothing else uses it."
                )
            return None
        self._heard_ns = now_ns
        arrival_ns = pieces[-1][1]
        self._lateness.add(arrival_ns, self._words.count, self._words.gaps)
        current_a = self._converter.current_a(words)
        return Block(
            int(numbers[0]),
            arrival_ns,
            current_a * self._supply_v,
            None,
            current_a,
            clipped=current_a >= MOST_A,
            marker=None if self._marker is None else (words >> (LOGIC_SHIFT + self._marker)) & 1 == 1,
            index=numbers,
        )

    def end(self) -> Block | None:
        """Take the last and stop."""
        last = self.fetch()
        self._lateness.close()
        self._stop()
        return last

    def _await_first(self, reader: LineReader) -> None:
        # Time has to pass for it, in a simulation too, where that takes none.
        for _ in range(LOOKS):
            if reader.wait(REPLY_S / LOOKS):
                return
            self._timebase.sleep(self.interval_s * LOOK_SAMPLES)
        raise LinkLost(
            f"The Power Profiler Kit at '{self._port}' sends no samples; unplug it and plug it in again."
        )

    def _identified(self, line: Line) -> Identity:
        line.write(STOP)
        if not line.quieten(QUIET_S, REPLY_S):
            raise WrongInstrument(
                f"'{self._port}' sends without being asked, as no Power Profiler Kit does; correct port in farm.toml."
            )
        line.write(METADATA)
        told = bytearray()

        def take(data: bytes) -> str | None:
            told.extend(data)
            return told.decode("latin-1") if b"END" in told else None

        text = line.gather(take, REPLY_S)
        if text is None and not told:
            raise LinkLost(
                f"No Power Profiler Kit answers at '{self._port}'; check port, and that nothing else uses it."
            )
        try:
            self._modifiers = parse_metadata(text or told.decode("latin-1"))
        except ReplyInvalid as error:
            raise WrongInstrument(f"At '{self._port}': {error}") from None
        self._configure(line)
        other = self._modifiers.other
        serial = other.get("SN") or line.serial_number
        simulated = serial is not None and serial.startswith(SIMULATED_SERIAL)
        return Identity("Nordic Semiconductor", "PPK2", serial, other.get("HW"), simulated)

    def _configure(self, line: Line) -> None:
        """Set the voltage before what it is for, and switch on last."""
        if self._mode == "source":
            line.write(set_voltage(self._supply_v))
        line.write(MODES[self._mode])
        if self._switch_on:
            line.write(SWITCH_ON)


class _Lateness:
    """Notices losses that the counter cannot tell, of 64 samples or more, by samples coming later than before."""

    def __init__(self, start_ns: int, port: str) -> None:
        self._start_ns, self._port = start_ns, port
        self._delays: list[float] = []
        self._gaps = 0
        self._gap_at: int | None = None

    def add(self, arrival_ns: int, count: int, gaps: int) -> None:
        """Note that `count` samples had been taken by a time. Raises NoReading if more are missing than were counted."""
        if gaps > self._gaps:
            self.close()
            self._gaps, self._gap_at = gaps, len(self._delays)
        self._delays.append((arrival_ns - self._start_ns) * 1e-9 * RATE_HZ - count)
        if self._gap_at is not None and len(self._delays) - self._gap_at >= AFTER:
            self.close()
        recent = min(self._delays[-AFTER:])
        if len(self._delays) > AFTER and recent - min(self._delays) > BEHIND_S * RATE_HZ:
            self._refuse(recent - min(self._delays))

    def close(self) -> None:
        """Judge the last loss. Raises NoReading."""
        at, self._gap_at = self._gap_at, None
        if at is None or at == 0:
            return
        before, after = self._delays[max(0, at - BEFORE) : at], self._delays[at:]
        if after and abs(min(after) - min(before)) > LATER_SAMPLES:
            self._refuse(min(after) - min(before))

    def _refuse(self, samples: float) -> None:
        raise NoReading(
            f"The Power Profiler Kit at '{self._port}' sent about {abs(samples):.0f} samples {'less' if samples > 0 else 'more'} "
            "than their counter tells; plug it straight into this machine, and leave this machine some processor time."
        )
