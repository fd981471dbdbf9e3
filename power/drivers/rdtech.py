"""RuiDeng UM24C, UM25C and UM34C: USB meters that answer one byte with a frame of all they know.

Sources: the reverse-engineered protocol of rfinnie/rdserialtool and of libsigrok's driver rdtech-um, which agree; RuiDeng
publishes none. Limits of error are those of RuiDeng's product pages. The frame is 130 bytes, big-endian; over Bluetooth it comes
in pieces, and the baud rate is nominal.

The meter renews its values twice a second. Taken to be means since the renewal before, they are shown for as long again: what is
read stands for the second that has just passed. A step of load calibrates that (latency_s).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import ClassVar, Self

from power.drivers.common.base import PolledInstrument
from power.drivers.common.serial_instrument import SerialInstrument
from power.errors import LinkLost, ReplyInvalid, WrongInstrument
from power.meter import Identity
from power.options import Options
from power.sample import Sample
from power.specification import Specified, product_accuracy
from power.timebase import Timebase
from power.trace import Reading
from power.transports.serialport import Line
from power.uncertainty import GainOffset

FRAME_BYTES = 130
ASK = b"\xf0"
BAUD = 9600
REPLY_S = 1.0
RENEWAL_S = 0.5
USUAL_V = 5.0
MODELS = {0x0963: "UM24C", 0x09C9: "UM25C", 0x0D4C: "UM34C"}
CHECKED = (
    1, 3, 7, 9, 15, 17, 19, 23, 31, 39, 41, 45, 49, 53, 55, 57, 59, 63, 67, 69, 73, 79, 83, 89, 97, 99, 109, 111, 113,
    119, 121, 127,
)  # fmt: skip
"""Bytes of a UM34C frame whose exclusive or is its last byte."""
TRAILER = b"\xff\xf1"
SIMULATED_AT, SIMULATED = 88, b"WFSI"
"""A counter of group 9 that power/sim fills with letters; 1.46 GAh is more than a meter ever counts."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a frame says, SI units."""

    model: int
    voltage_v: float
    current_a: float
    power_w: float
    is_simulated: bool


def parse_frame(frame: bytes, volts_per_count: float, amperes_per_count: float) -> Frame:
    """Read a frame. Raises ReplyInvalid if it is not whole: too short, or its end does not fit its model."""
    if len(frame) != FRAME_BYTES:
        raise ReplyInvalid(
            f"A frame has {len(frame)} bytes instead of {FRAME_BYTES}; it was cut off on its way."
        )
    model, volts, amperes, milliwatts = struct.unpack_from(">HHHI", frame)
    whole = frame[-1] == checksum(frame) if model == 0x0D4C else frame[-2:] == TRAILER
    if not whole:
        raise ReplyInvalid("A frame ends in a wrong checksum; it was garbled on its way.")
    mark = frame[SIMULATED_AT : SIMULATED_AT + len(SIMULATED)]
    return Frame(
        model, volts * volts_per_count, amperes * amperes_per_count, milliwatts * 1e-3, mark == SIMULATED
    )


def checksum(frame: bytes) -> int:
    """Return the last byte of a UM34C frame."""
    return reduce(xor, (frame[index] for index in CHECKED))


class RdTechMeter(SerialInstrument, PolledInstrument):
    """What the three have in common. Current has no sign."""

    model_id: ClassVar[int]
    volts_per_count: ClassVar[float] = 0.01
    amperes_per_count: ClassVar[float] = 0.001
    most_a: ClassVar[float]
    voltage_limits: ClassVar[Specified]
    current_limits: ClassVar[Specified]
    reading: Reading = "average"
    """Means over each renewal."""
    interval_s = 0.2
    """More often than it renews, so that each renewal counts for as long as it was shown."""
    resolution_w = 1e-3
    """Power comes in whole milliwatts."""
    averaging_s = 2.0 * RENEWAL_S
    time_bound_s = 0.05

    def __init__(self, port: str, timebase: Timebase, *, line: Line | None = None) -> None:
        """`line` is for tests; else `port` is opened by `connect`."""
        super().__init__(port, timebase, BAUD, line)

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take the port."""
        return cls(options.text("port"), timebase)

    @property
    def tail_s(self) -> float:
        """What is read stands for an earlier time."""
        return 2.0 * self.averaging_s

    def accuracy(self, voltage_v: float | None) -> GainOffset:
        """Return the limits of error of voltage × current."""
        supply_v = voltage_v or USUAL_V
        return product_accuracy(
            self.voltage_limits,
            self.current_limits,
            supply_v,
            resolution_w=self.resolution_w,
            source=f"product page of the RuiDeng {MODELS[self.model_id]}",
        )

    def _identified(self, line: Line) -> Identity:
        frame = self._asked()  # the model stands in it
        return Identity("RuiDeng", MODELS[self.model_id], is_simulated=frame.is_simulated)

    def read(self) -> Sample:
        """Return what the last renewal showed."""
        begin_ns = self._timebase.now_ns()
        frame = self._asked()
        middle_ns = (begin_ns + self._timebase.now_ns()) // 2
        return Sample(
            middle_ns,
            frame.power_w,
            frame.voltage_v,
            frame.current_a,
            is_clipped=frame.current_a >= self.most_a,
        )

    def make_safe(self) -> None:
        """Nothing was changed."""

    def _asked(self) -> Frame:
        """Ask for a frame; once again if the first one came garbled or out of step."""
        try:
            return self._ask_once()
        except (ReplyInvalid, WrongInstrument):
            return self._ask_once()

    def _ask_once(self) -> Frame:
        line, told = self._connected, bytearray()

        def take(data: bytes) -> bytes | None:
            told.extend(data)
            return bytes(told[:FRAME_BYTES]) if len(told) >= FRAME_BYTES else None

        line.drain()
        line.write(ASK)
        frame = line.gather(take, REPLY_S) or bytes(told)
        if not frame:
            raise LinkLost(
                f"The meter at '{self._port}' does not answer; check that it is on and paired, and the port."
            )
        model = int.from_bytes(frame[:2], "big")
        if model != self.model_id:
            self._refuse(model, frame)
        return parse_frame(frame, self.volts_per_count, self.amperes_per_count)

    def _refuse(self, model: int, frame: bytes) -> None:
        wanted = MODELS[self.model_id]
        if model in MODELS and len(frame) == FRAME_BYTES:
            raise WrongInstrument(
                f"'{self._port}' is a RuiDeng {MODELS[model]}, but the driver {self.driver} is for the {wanted}; "
                f'write driver = "rdtech-{MODELS[model].lower()}" in farm.toml.'
            )
        raise ReplyInvalid(
            f"'{self._port}' answered {frame[:8].hex(' ')}…, which no {wanted} begins a frame with; check the port."
        )


class Um24c(RdTechMeter):
    """UM24C: to 24 V and 3 A."""

    driver = "rdtech-um24c"
    model_id = 0x0963
    most_a = 3.0
    voltage_limits, current_limits = Specified(0.005, 0.02), Specified(0.008, 0.003)


class Um25c(RdTechMeter):
    """UM25C: to 24 V and 5 A, with one digit more than the others."""

    driver = "rdtech-um25c"
    model_id = 0x09C9
    volts_per_count, amperes_per_count = 0.001, 0.0001
    most_a = 5.0
    voltage_limits, current_limits = Specified(0.0005, 0.002), Specified(0.001, 0.0004)


class Um34c(RdTechMeter):
    """UM34C: to 24 V and 4 A, on USB-C."""

    driver = "rdtech-um34c"
    model_id = 0x0D4C
    most_a = 4.0
    voltage_limits, current_limits = Specified(0.005, 0.02), Specified(0.01, 0.003)
