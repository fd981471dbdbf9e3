"""What drivers of SCPI instruments share: reaching one, its errors, values that are no values, samples that are not numbered.

Source: SCPI-1999 volume 1, 7.2.1 (9.9E37 stands for infinity, 9.91E37 for "not a number"), volume 2, 21.8 (SYSTem:ERRor?).
"""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from power.drivers.common.base import Instrument, Start, check_model, parse_idn
from power.errors import InstrumentError, NoReading, PowerError, ReplyInvalid
from power.meter import Identity
from power.timebase import Timebase
from power.trace import Flags, Floats
from power.transports.scpi import ScpiLink, VisaLink

INFINITY = 9.9e37
NO_NUMBER = 9.905e37
"""From here on it is 9.91E37, which singles round down."""
GOLDEN = 0.618034
STALL_S = 1.0
"""Samples that are not numbered are missed when the count falls so far behind the clock."""


class ScpiInstrument(Instrument):
    """An instrument on a ScpiLink. Subclasses name their `models` and fill `_set_up`."""

    models: ClassVar[tuple[str, ...]]
    error_query: str = "SYST:ERR?"

    def __init__(self, resource: str, timebase: Timebase, link: ScpiLink | None = None) -> None:
        """`link` is for tests; else `resource` is opened by `connect`."""
        self._resource, self._timebase, self._link = resource, timebase, link

    def connect(self) -> Identity:
        """Reach, identify and set up. Raises MeterUnavailable, WrongInstrument or InstrumentError, the line closed."""
        link = self._link = self._link or VisaLink(self._resource)
        try:
            identity = parse_idn(link.query("*IDN?"))
            self._check_identity(identity)
            self._set_up(link, identity)
        except BaseException:
            self.disconnect()
            raise
        return identity

    def disconnect(self) -> None:
        """Close the line."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _check_identity(self, identity: Identity) -> None:
        check_model(identity, self.models, self.driver, self._connected.address)

    @abstractmethod
    def _set_up(self, link: ScpiLink, identity: Identity) -> None:
        """Configure it; ends with `_check_errors`."""

    @property
    def _connected(self) -> ScpiLink:
        if self._link is None:
            raise NoReading(f"The instrument at '{self._resource}' is not connected.")
        return self._link

    def _write(self, commands: Sequence[str]) -> None:
        for command in commands:
            self._connected.write(command)

    def _write_anyway(self, commands: Sequence[str]) -> None:
        """Send what leaves it safe: each command, even if another one fails."""
        failure: PowerError | None = None
        for command in commands:
            try:
                if self._link is not None:
                    self._link.write(command)
            except PowerError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _number(self, query: str) -> float:
        """Ask for one number. Raises ReplyInvalid if it is none."""
        return number(self._connected.query(query), query, self._resource)

    def _flags(self, query: str) -> int:
        """Ask for a register of bits. Raises ReplyInvalid if it is none."""
        return int(self._number(query))

    def _check_errors(self) -> None:
        answer = self._connected.query(self.error_query)
        with contextlib.suppress(ValueError):
            if int(answer.split(",", 1)[0]) == 0:
                return
        raise InstrumentError(
            f"The instrument at '{self._resource}' reports {answer or 'an error without text'}; see its manual, and mend the "
            "settings of this meter in farm.toml."
        )


def number(answer: str, query: str, resource: str) -> float:
    """Read one number of an answer. Raises ReplyInvalid."""
    try:
        return float(answer)
    except ValueError:
        raise no_number(answer, query, resource) from None


def no_number(answer: str, query: str, resource: str) -> ReplyInvalid:
    """Return the error that tells of an answer which holds no number."""
    return ReplyInvalid(
        f"'{resource}' answered '{query}' with '{answer[:60]}', which is no number; check that nothing else talks to it, and "
        "measure again."
    )


def value_or_none(value: float) -> float | None:
    """Return a reading, ±infinity for one over the range, None for "not a number"."""
    if math.isnan(value) or abs(value) >= NO_NUMBER:
        return None
    return math.copysign(math.inf, value) if abs(value) >= INFINITY else value


def ascii_values(payload: bytes, resource: str) -> Floats:
    """Read comma-separated numbers. Raises ReplyInvalid for anything else."""
    if not payload.strip():
        return np.empty(0)
    try:
        return np.array([float(field) for field in payload.decode("ascii").split(",")])
    except ValueError:
        raise ReplyInvalid(f"'{resource}' sent readings that are no numbers: {payload[:40]!r}.") from None


def binary_values(payload: bytes, dtype: str, columns: int, resource: str) -> Floats:
    """Read [n, columns] binary numbers as doubles. Raises ReplyInvalid if the block holds no whole number of rows."""
    row_bytes = np.dtype(dtype).itemsize * columns
    if len(payload) % row_bytes:
        raise ReplyInvalid(
            f"'{resource}' sent {len(payload)} bytes of samples, which are no multiple of {row_bytes}; measure again."
        )
    return np.frombuffer(payload, dtype).reshape(-1, columns).astype(np.float64)


def limited(values: Floats, limit: float, resource: str) -> tuple[Floats, Flags]:
    """Replace readings over the range by the range's limit and mark them. Raises NoReading for readings without a value."""
    if not np.all(np.abs(values) < NO_NUMBER):  # so written that NaN fails too
        raise NoReading(
            f"The instrument at '{resource}' gave samples without a value; check its input and range."
        )
    over = np.abs(values) >= limit
    return np.where(over, np.copysign(limit, values), values), over


def out_of_step(period_s: float, about_s: float) -> float:
    """Return a time between questions, of about `about_s`, that never falls into step with what comes each `period_s`.

    Questions a golden ratio of periods apart find samples of ever different age, young ones among them, in every part of a
    recording. Only a young one says how late the samples can be at most: in step, sample times would be known up to twice
    worse, though no worse than their bound states (power/align/arrivals.py).
    """
    if period_s > about_s:
        return period_s / (round(period_s / about_s) + GOLDEN)
    return period_s * (round(about_s / period_s) + GOLDEN)


class Counted:
    """Numbers the samples of a stream that does not number them itself, and notices when some went missing.

    Its only witness is the clock: a loss of less than STALL_S is seen by the instrument alone.
    """

    def __init__(self, start: Start, interval_s: float, clock_ppm: float, resource: str) -> None:
        self._start, self._interval_s, self._ppm, self._resource = start, interval_s, clock_ppm, resource
        self.count = 0

    def add(self, samples: int, arrival_ns: int) -> int:
        """Take samples, the last that there were at a time, and return the number of the first. Raises NoReading after a loss."""
        first = self.count
        self.count += samples
        elapsed_s = (arrival_ns - self._start.latest_ns) / 1e9
        behind_s = elapsed_s * (1.0 - self._ppm * 1e-6) - self.count * self._interval_s
        if behind_s > STALL_S + self._interval_s:
            raise NoReading(
                f"The instrument at '{self._resource}' is {behind_s:.1f} s behind with its samples: some were lost; "
                "lower its rate, or use a faster line."
            )
        return first
