"""The line protocol of a microcontroller that reads INA sensors: docs/meters/ina-serial.md describes it, with a sketch.

Every line is `body*XX`, XX being the exclusive or of all bytes before the star, as in NMEA 0183. The body of version 1 is one of

    WFINA,1,<sensor>,<channels>,<interval_us>,<averaging_us>,<serial>,<firmware>      who it is
    W1,<seq>,<t_us>,<channel>,<shunt>,<bus>                                          one channel at one instant
    K1,<command>                                                                     a command was done
    E1,<text>                                                                        something failed
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from functools import reduce
from operator import xor

from power.drivers.common.ina_registers import SENSORS, Sensor
from power.errors import InstrumentError, WrongInstrument

VERSION = "1"
LONGEST_LINE = 200
_SAMPLE = re.compile(rb"W1,(\d{1,10}),(\d{1,10}),([1-9]),([0-9A-F]{4}),([0-9A-F]{4})")


@dataclass(frozen=True, slots=True)
class About:
    """What a microcontroller says of itself.

    channels      those that it samples at each instant
    interval_s    between instants, by its own clock
    averaging_s   that each value is a mean over
    """

    sensor: Sensor
    channels: tuple[int, ...]
    interval_s: float
    averaging_s: float
    serial: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Row:
    """One channel at one instant: registers as they were read, and the microcontroller's clock."""

    seq: int
    t_us: int
    channel: int
    shunt: int
    bus: int


@dataclass(frozen=True, slots=True)
class Done:
    """A command was done."""

    command: str


Message = About | Row | Done


def check_sum(body: bytes) -> int:
    """Return the exclusive or of all bytes."""
    return reduce(xor, body, 0)


def sealed(body: str) -> bytes:
    """Return the line of a body."""
    data = body.encode("ascii")
    return b"%b*%02X\n" % (data, check_sum(data))


class LineCutter:
    """Makes messages of what comes, in any pieces. `spoilt` counts lines that are none: cut, garbled, of another program."""

    def __init__(self) -> None:
        self._rest = b""
        self.spoilt = 0

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes; return the messages that they complete. Raises InstrumentError for one that tells of a failure."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = self._rest[-LONGEST_LINE:]
        found = []
        for line in lines:
            text = line.rstrip(b"\r")
            if not text:
                continue
            message = parse_line(text)
            if message is None:
                self.spoilt += 1
            else:
                found.append(message)
        return found


def parse_line(line: bytes) -> Message | None:
    """Read a line; None if it is spoilt. Raises InstrumentError (E1), WrongInstrument (another version or sensor)."""
    body, star, told = line.rpartition(b"*")
    with contextlib.suppress(ValueError):
        if star and len(told) == 2 and int(told, 16) == check_sum(body):
            sample = _SAMPLE.fullmatch(body)
            if sample is not None:
                seq, t_us, channel = (int(word) for word in sample.group(1, 2, 3))
                return Row(seq, t_us, channel, int(sample[4], 16), int(sample[5], 16))
            return _other(body.decode("ascii").split(","))
    return None


def _other(words: list[str]) -> Message | None:
    if words[0] == "E1":
        raise InstrumentError(
            f"The microcontroller reports: {','.join(words[1:])}; check its wiring to the sensor."
        )
    if words[0] == "K1" and len(words) == 2:
        return Done(words[1])
    if words[0] == "WFINA":
        return _about(words)
    return None


def _about(words: list[str]) -> About:
    if len(words) != 8 or words[1] != VERSION:
        raise WrongInstrument(
            f"The microcontroller speaks version {words[1] if len(words) > 1 else '?'} of the protocol, not {VERSION}; "
            "load the sketch that belongs to this driver."
        )
    _, _, name, channels, interval_us, averaging_us, serial, firmware = words
    sensor = SENSORS.get(name)
    if sensor is None or not channels.isdigit() or int(max(channels)) > sensor.channels or "0" in channels:
        raise WrongInstrument(
            f"The microcontroller reads channels {channels} of an {name}; known are {', '.join(SENSORS)}."
        )
    return About(
        sensor, tuple(map(int, channels)), int(interval_us) * 1e-6, int(averaging_us) * 1e-6, serial, firmware
    )
