"""INA219, INA226 or INA3221 read by a microcontroller, over a serial line.

Source: docs/meters/ina-serial.md (the protocol, power/drivers/common/ina_lines.py); TI SBOS448, SBOS547, SBOS576 (registers and
limits of error, power/drivers/common/ina_registers.py).

The microcontroller samples on a grid of its own clock and numbers the instants: sample k is taken at t0 + k · interval, so that
this is a stream, and a line that is spoilt leaves a hole. Its clock, told with each sample, wraps after 2³² µs and says whether
it keeps its grid. A sensor averages asynchronously: what is read was complete up to one averaging time before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from power.drivers.common.base import SIMULATED_SERIAL, Block, Start, StreamedInstrument
from power.drivers.common.ina_lines import About, LineCutter, Row
from power.drivers.common.ina_registers import Sensor
from power.drivers.common.serial_instrument import SerialStream
from power.errors import LinkLost, NoReading, WrongInstrument
from power.meter import Identity
from power.options import LARGEST_SHUNT_OHM, Options
from power.specification import Specified, product_accuracy
from power.timebase import Timebase
from power.trace import Reading
from power.transports.reader import LineReader
from power.transports.serialport import Line
from power.uncertainty import GainOffset

BAUD = 115200
ASK, START, STOP = b"?\n", b"S\n", b"X\n"
REPLY_S = 0.5
TRIES = 8
"""Opening the port restarts many boards; their boot loader takes about 2 s."""
SILENCE_S = 3.0
QUIET_S = 0.02
WRAP_US = 1 << 32
USUAL_V = 5.0


class InaSerial(SerialStream, StreamedInstrument):
    """The sum of the channels."""

    driver = "ina-serial"
    stop_command = STOP
    reading: Reading = "average"
    """The sensor averages."""
    fetch_s = 0.1

    def __init__(
        self,
        port: str,
        timebase: Timebase,
        *,
        shunt_ohm: float,
        shunt_tolerance: float = 0.01,
        channels: Sequence[int] = (1,),
        baud: int = BAUD,
        clock_ppm: float = 100.0,
        line: Line | None = None,
    ) -> None:
        super().__init__(port, timebase, baud, line)
        self._shunt_ohm, self._shunt_tolerance, self._channels = shunt_ohm, shunt_tolerance, tuple(channels)
        self.clock_ppm = clock_ppm
        self._about: About | None = None
        self._grid = _Grid(1.0)
        self._cutter = LineCutter()
        self._pending: dict[int, dict[int, Row]] = {}
        self._last_seq, self._heard_ns = -1, 0

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take port, baud, shunt_ohm, shunt_tolerance, channels and clock_ppm."""
        channels = options.names("channels") or ("1",)
        if len(set(channels)) != len(channels) or not set(channels) <= {"1", "2", "3"}:
            options.fail(f'channels must be different ones of "1", "2", "3", not {", ".join(channels)}')
        return cls(
            options.text("port"),
            timebase,
            shunt_ohm=options.number("shunt_ohm", above=0.0, high=LARGEST_SHUNT_OHM),
            shunt_tolerance=options.number("shunt_tolerance", 0.01, low=0.0, high=0.5),
            channels=[int(channel) for channel in channels],
            baud=options.integer("baud", BAUD, low=1200, high=4_000_000),
            clock_ppm=options.number("clock_ppm", 100.0, low=1.0, high=20_000.0),
        )

    @property
    def averaging_s(self) -> float | None:  # type: ignore[override]
        """As the microcontroller tells."""
        return self._told.averaging_s

    @property
    def interval_s(self) -> float:
        """As the microcontroller tells."""
        return self._told.interval_s

    @property
    def tail_s(self) -> float:
        """What is under way, and the last averages."""
        return self.fetch_s + 3.0 * self.interval_s + self._told.averaging_s

    @property
    def resolution_w(self) -> float | None:
        """A digit of the shunt at the usual supply."""
        return None if self._about is None else self._about.sensor.shunt_v / self._shunt_ohm * USUAL_V

    @property
    def range_text(self) -> str | None:
        """The shunt, on which everything depends."""
        return f"{self._shunt_ohm:g} Ω"

    def accuracy(self, voltage_v: float | None) -> GainOffset | None:
        """Return the limits of error of V · I: the sensor's, and the shunt's tolerance."""
        if self._about is None:
            return None
        supply_v = voltage_v or USUAL_V
        sensor, count = self._about.sensor, len(self._channels)
        return product_accuracy(
            sensor.bus,
            current_limits(self._about, self._shunt_ohm, self._shunt_tolerance),
            supply_v,
            resolution_w=math.sqrt(count) * sensor.shunt_v / self._shunt_ohm * supply_v,
            source=f"TI data sheet of the {sensor.name}, shunt ± {100.0 * self._shunt_tolerance:g} %",
        )

    def begin(self) -> Start:
        """Start; what it says is read in a thread from now on."""
        line, about = self._connected, self._told
        line.quieten(QUIET_S, REPLY_S)
        self._grid, self._cutter, self._pending = _Grid(about.interval_s), LineCutter(), {}
        self._last_seq = -1
        earliest_ns = self._timebase.now_ns()
        line.write(START)
        self._reader = LineReader(line)
        if not self._reader.wait(REPLY_S):
            raise LinkLost(f"The microcontroller at '{self._port}' does not start; reset it.")
        self._heard_ns = self._timebase.now_ns()
        return Start(earliest_ns - round(about.averaging_s * 1e9), self._heard_ns)

    def fetch(self) -> Block | None:
        """Return the instants that are complete. Raises LinkLost if none comes any more."""
        if self._reader is None:
            raise NoReading(f"The microcontroller at '{self._port}' was not started.")
        pieces = self._reader.take()
        rows = [
            message for data, _ in pieces for message in self._cutter.feed(data) if isinstance(message, Row)
        ]
        block = self._block(rows, pieces[-1][1]) if pieces else None
        now_ns = self._timebase.now_ns()
        if block is not None:
            self._heard_ns = now_ns
        elif now_ns - self._heard_ns > (SILENCE_S + 3.0 * self.interval_s) * 1e9:
            raise LinkLost(
                f"The microcontroller at '{self._port}' sent no sample for {(now_ns - self._heard_ns) / 1e9:.1f} s "
                f"({self._cutter.spoilt} lines came spoilt); check its power, its cable and baud."
            )
        return block

    def end(self) -> Block | None:
        """Take the last and stop."""
        last = self.fetch()
        self._stop()
        return last

    @property
    def _told(self) -> About:
        if self._about is None:
            raise NoReading(f"The microcontroller at '{self._port}' was not asked what it is.")
        return self._about

    def _identified(self, line: Line) -> Identity:
        line.write(STOP)
        line.quieten(QUIET_S, REPLY_S)
        about = self._asked(line)
        missing = [channel for channel in self._channels if channel not in about.channels]
        if missing:
            raise WrongInstrument(
                f"The microcontroller at '{self._port}' does not sample channel {missing[0]}, only "
                f"{', '.join(map(str, about.channels))}; correct channels in farm.toml, or its sketch."
            )
        self._about = about
        simulated = about.serial.startswith(SIMULATED_SERIAL)
        return Identity("Wattfarm", f"{about.sensor.name} reader", about.serial, about.firmware, simulated)

    def _asked(self, line: Line) -> About:
        cutter = LineCutter()

        def take(data: bytes) -> About | None:
            return next((message for message in cutter.feed(data) if isinstance(message, About)), None)

        for _ in range(TRIES):
            line.write(ASK)
            found = line.gather(take, REPLY_S)
            if found is not None:
                return found
        if cutter.spoilt:
            raise WrongInstrument(
                f"What answers at '{self._port}' speaks another language ({cutter.spoilt} lines without a valid check sum); "
                "load the sketch of ina-serial, or correct port and baud in farm.toml."
            )
        raise LinkLost(
            f"The microcontroller at '{self._port}' does not answer; check that the sketch of ina-serial runs on it, and "
            "port and baud."
        )

    def _block(self, rows: Sequence[Row], arrival_ns: int) -> Block | None:
        """Make a block of the instants of which all channels are there."""
        complete: list[dict[int, Row]] = []
        for row in rows:
            if row.channel not in self._channels or row.seq <= self._last_seq:
                continue
            instant = self._pending.setdefault(row.seq, {})
            instant[row.channel] = row
            if len(instant) == len(self._channels):
                self._grid.check(row, self._port)
                self._last_seq = row.seq
                complete.append(instant)
                self._pending = {seq: other for seq, other in self._pending.items() if seq > row.seq}
        if not complete:
            return None
        sensor = self._told.sensor
        table = np.array([[_volts(sensor_row, sensor) for sensor_row in _ordered(one)] for one in complete])
        volts, amperes = table[:, :, 1], table[:, :, 0] / self._shunt_ohm
        power_w = (volts * amperes).sum(axis=1)
        one = len(self._channels) == 1
        seqs = [next(iter(instant.values())).seq for instant in complete]
        return Block(
            seqs[0],
            arrival_ns,
            power_w,
            volts[:, 0].copy() if one else None,
            amperes[:, 0].copy() if one else None,
            clipped=np.array([any(sensor.is_over(r.shunt, r.bus) for r in one.values()) for one in complete]),
            index=np.array(seqs, np.int64),
        )


def current_limits(about: About, shunt_ohm: float, shunt_tolerance: float) -> Specified:
    """Return the limits of error of a channel's current."""
    limits = about.sensor.shunt
    return Specified(math.hypot(limits.of_reading, shunt_tolerance), limits.offset / shunt_ohm)


class _Grid:
    """Whether the microcontroller's clock, told with each sample, agrees with the samples' numbers."""

    def __init__(self, interval_s: float) -> None:
        self._interval_us = interval_s * 1e6
        self._origin_us: float | None = None

    def check(self, row: Row, port: str) -> None:
        """Raise NoReading if a sample was not taken at its time, half an interval at the most beside it."""
        told_us = row.t_us - row.seq * self._interval_us
        if self._origin_us is None:
            self._origin_us = told_us
        off_us = (told_us - self._origin_us + WRAP_US / 2) % WRAP_US - WRAP_US / 2
        if abs(off_us) > 0.5 * self._interval_us:
            raise NoReading(
                f"The microcontroller at '{port}' took sample {row.seq} {off_us * 1e-3:.1f} ms beside its grid of "
                f"{self._interval_us * 1e-3:g} ms; it was restarted, or its interval is too short for it."
            )


def _ordered(instant: dict[int, Row]) -> list[Row]:
    return [instant[channel] for channel in sorted(instant)]


def _volts(row: Row, sensor: Sensor) -> tuple[float, float]:
    return sensor.shunt_volts(row.shunt), sensor.bus_volts(row.bus)
