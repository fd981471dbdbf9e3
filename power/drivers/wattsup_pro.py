"""Watts up? PRO, PRO ES and .Net: wall meters that send a line of readings each second.

Source: Electronic Educational Devices, "Watts Up? Pro Communications Protocol", revision 1.8. Packets are `#C,S,n,a1,…,an;`;
whatever stands between them is ignored, `_` is a value that is not logged. Volts, watts, watt-hours and hertz come in tenths,
amperes in thousandths. Each value is the mean of the second before. Limits of error are those of the user's manual: 1.5 % + 3
counts; power factor and current are poor below 60 W.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

from power.drivers.common.base import PushedInstrument
from power.drivers.common.serial_instrument import SerialInstrument
from power.errors import LinkLost, ReplyInvalid, WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.serialport import Line
from power.uncertainty import GainOffset

BAUDS = (115200, 19200)
"""Of today's meters, and of those with USB hardware of revision 1."""
ABORT, STOP = b"\x18", b"#L,R,0;"
MODELS = ("Watts up?", "Watts up? PRO", "Watts up? PRO ES", "Watts up? .Net")
FIELDS = 18
WATTS, VOLTS, AMPERES = 0, 1, 2
REPLY_S = 2.0
LONGEST_PACKET = 512
SIMULATED = "WATTFARM-SIM"
"""What power/sim gives in the field of the version packet that holds a time stamp in real ones."""


class Packets:
    """Cuts what comes over the line into packets: lists of fields, the command first."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[list[str]]:
        """Take the next bytes; yield the packets that they complete. Raises ReplyInvalid for one whose count is wrong."""
        self._rest += data
        while True:
            _, mark, after = self._rest.partition(b"#")
            self._rest = mark + after
            end = after.find(b";")
            if end < 0:
                if len(after) > LONGEST_PACKET:
                    self._rest = b""
                return
            self._rest = after[end + 1 :]
            # A packet that was cut off is followed by the next one's mark.
            yield _fields(after[:end].rpartition(b"#")[2])


def _fields(packet: bytes) -> list[str]:
    fields = [field.strip() for field in packet.decode("latin-1").split(",")]
    if len(fields) < 3 or not fields[2].isdigit() or int(fields[2]) != len(fields) - 3:
        raise ReplyInvalid(
            f"The Watts up sent a packet whose count is wrong, '#{packet[:60].decode('latin-1')};'; it was garbled on its way."
        )
    return fields


def value_of(text: str, step: float) -> float | None:
    """Return a field in SI units, None for one that is not logged. Raises ReplyInvalid for what is no number."""
    if text == "_":
        return None
    if not text.lstrip("-").isdigit():
        raise ReplyInvalid(f"The Watts up sent '{text}' where a number was due; it was garbled on its way.")
    return int(text) * step


def sample_of(fields: Sequence[str], arrival_ns: int) -> Sample | None:
    """Return the reading of a data packet, None for any other packet."""
    if fields[0].lower() != "d" or len(fields) < 3 + AMPERES + 1:
        return None
    values = fields[3:]
    return Sample(
        arrival_ns,
        power_w=value_of(values[WATTS], 0.1),
        voltage_v=value_of(values[VOLTS], 0.1),
        current_a=value_of(values[AMPERES], 0.001),
    )


class WattsUpPro(SerialInstrument, PushedInstrument):
    """The meter at the wall. Choosing what is logged clears its memory."""

    driver = "wattsup-pro"
    scope: Scope = "wall"
    reading: Reading = "average"
    """Means over each second."""
    averaging_s = interval_s = 1.0
    time_bound_s = 0.1
    resolution_w = 0.1
    """Tenths of a watt."""

    def __init__(
        self, port: str, timebase: Timebase, *, baud: int = BAUDS[0], line: Line | None = None
    ) -> None:
        """`line` is for tests; else `port` is opened by `connect`."""
        super().__init__(port, timebase, baud, line)
        self._packets = Packets()

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take port, and the baud rate of old ones."""
        port = options.text("port")
        baud = options.integer("baud", BAUDS[0], low=1200, high=1_000_000)
        if baud not in BAUDS:
            options.fail(f"baud is {baud}, but a Watts up speaks {' or '.join(map(str, BAUDS))}")
        return cls(port, timebase, baud=baud)

    @property
    def source_text(self) -> str:
        """The serial port."""
        return f"on the serial port '{self._port}'"

    def accuracy(self, voltage_v: float | None) -> GainOffset:
        """Return 1.5 % of reading and three counts."""
        return GainOffset.from_limits(
            0.015, 0.3, resolution_w=self.resolution_w, source="Watts up? PRO user's manual"
        )

    def begin(self) -> None:
        """Choose all fields, and external logging each second."""
        line = self._connected
        line.write(b"#C,W,%d%s;" % (FIELDS, b",1" * FIELDS))
        line.drain()
        self._packets = Packets()
        line.write(b"#L,W,3,E,-,1;")

    def receive(self, timeout_s: float) -> Sequence[Sample]:
        """Return the readings that came."""
        data, arrival_ns = self._connected.read_some(timeout_s)
        found = (sample_of(fields, arrival_ns) for fields in self._packets.feed(data))
        return [sample for sample in found if sample is not None]

    def end(self) -> None:
        """Let it be silent."""
        self._connected.write(STOP)

    def make_safe(self) -> None:
        """Stop external logging; it then goes on logging into its own memory."""
        if self._line is not None:
            self._line.write(STOP)

    def _identified(self, line: Line) -> Identity:
        line.write(ABORT + STOP)
        line.drain()
        fields = self._asked(b"#V,R,0;", "v")
        values = fields[3:]
        if not values or not values[0].isdigit() or int(values[0]) >= len(MODELS):
            raise WrongInstrument(
                f"What answers at '{self._port}' is no Watts up that is known ('{','.join(fields)[:60]}'); check the port."
            )
        firmware = ".".join(values[4:6]) or None
        return Identity(
            "Electronic Educational Devices", MODELS[int(values[0])], None, firmware, SIMULATED in values
        )

    def _asked(self, command: bytes, answer: str) -> list[str]:
        """Send a command and return the packet that answers it; data packets in between are passed over."""
        line, packets = self._connected, Packets()
        line.write(command)
        waits = max(1, round(REPLY_S / 0.1))
        while waits:
            data, _ = line.read_some(0.1)
            waits -= not data
            for fields in packets.feed(data):
                if fields[0] == answer:
                    return fields
        raise LinkLost(
            f"The Watts up at '{self._port}' does not answer; check that it is on, the port, and baud = {BAUDS[1]} for old ones."
        )
