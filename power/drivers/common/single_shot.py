"""What drivers of Rigol and Siglent oscilloscopes share: a time base in steps of 1-2-5, one acquisition, a check of its start.

The trigger is set above the screen of the first channel, so that nothing but the command fires it. When it did is bounded by the
host's time before the command and after the first answer that no longer waits. A record that is full sooner than the time that
should have passed since then was not placed where it was asked for: that is refused, since every window would be misplaced.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from power.drivers.common.base import Start
from power.drivers.common.probing import Probing
from power.drivers.common.scope import ChannelSetting, Oscilloscope, Record, ScopeModel
from power.drivers.common.scpi_instrument import ScpiInstrument, no_number
from power.errors import InstrumentError, ReplyInvalid
from power.options import Options
from power.timebase import Timebase
from power.transports.scpi import ScpiLink

STEPS = (1.0, 2.0, 5.0)
ROWS = 8
"""Squares of the screen from bottom to top."""
LIMITED_HZ = 20e6
POLL_S = 0.02
ANSWER_S = 5.0
"""Time within which a scope follows a command, besides what its record takes."""
READ_S = 30.0
"""Patience with a block of data."""
EARLY = 0.95
"""A record that is full after less of its time began before its trigger, or was cut."""
MISPLACED = 0.02
"""Part of the record by which its beginning may be off from where it was asked for."""
_VALUE = re.compile(r"(?:\S*[A-Z?]\S* )?([-+]?(?:\d+\.?\d*|\.\d+)(?:E[-+]?\d+)?) ?((?:[A-DF-Z][A-Z/]*)?)")
_MULTIPLES = {"K": 1e3, "M": 1e6, "G": 1e9}
_PARTS = {"M": 1e-3, "U": 1e-6, "N": 1e-9}
_SMALL = frozenset({"MS", "US", "NS", "MV", "UV", "MA", "UA"})


@dataclass(frozen=True, slots=True)
class Words:
    """What a status query answers: while it waits for the trigger, and when it is finished."""

    waiting: frozenset[str]
    finished: frozenset[str]


class SingleShotScope(ScpiInstrument, Oscilloscope):
    """An oscilloscope that records once.

    divisions        squares of its screen from left to right
    longest_div_s    slowest time base, s a square
    shortest_div_s   fastest one
    channels         numbers of the channels that will be on: memory and rate depend on them
    attenuations     of the probes that can be set, where they come in steps of 1-2-5
    """

    divisions: ClassVar[int]
    longest_div_s: ClassVar[float]
    shortest_div_s: ClassVar[float] = 1e-8
    words: ClassVar[Words]
    status_query: ClassVar[str]
    force_command: ClassVar[str]
    stop_command: ClassVar[str]
    attenuations: ClassVar[tuple[float, ...]]

    def __init__(
        self,
        resource: str,
        timebase: Timebase,
        *,
        channels: Sequence[int] = (1, 2),
        link: ScpiLink | None = None,
    ) -> None:
        super().__init__(resource, timebase, link)
        self._channels = tuple(channels)
        self._model: ScopeModel | None = None
        self._settings: dict[int, ChannelSetting] = {}
        self._record: Record | None = None
        self._triggered_ns: int | None = None

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take resource; what the probes are on is only looked at, for how many channels share the memory."""
        wired = Probing.from_options(options)
        return cls(
            options.text("resource"), timebase, channels=tuple(channel.number for channel in wired.channels)
        )

    @property
    def model(self) -> ScopeModel:
        """Memory and rate are those with the channels that are on."""
        if self._model is None:
            raise InstrumentError(f"The oscilloscope at '{self._resource}' is not connected.")
        return self._model

    def fitted(self, channel: ChannelSetting) -> ChannelSetting:
        """Return the channel with its range, 8 squares high, rounded up to a step."""
        return replace(channel, range_v=ROWS * scale_v(channel))

    def trigger(self) -> Start:
        """Trigger by command, and wait until it shows."""
        self._triggered_ns = earliest_ns = self._timebase.now_ns()
        self._connected.write(self.force_command)
        self._wait(
            lambda word: word not in self.words.waiting,
            ANSWER_S,
            f"did not take the forced trigger ({self.force_command})",
        )
        return Start(earliest_ns, self._timebase.now_ns())

    def is_done(self) -> bool:
        """Whether it stopped by itself. Raises InstrumentError if that was sooner than the record takes."""
        if self._status() not in self.words.finished:
            return False
        record = self._set
        if self._triggered_ns is not None:
            past_s = (self._timebase.now_ns() - self._triggered_ns) / 1e9
            due_s = record.duration_s * (1.0 - record.pretrigger)
            if past_s < EARLY * due_s:
                raise InstrumentError(
                    f"The oscilloscope at '{self._resource}' was done {past_s:.3g} s after its trigger, but {due_s:.3g} s of its "
                    "record should follow that; check that nobody stopped it, and its horizontal position."
                )
            self._triggered_ns = None
        return True

    def stop(self) -> None:
        """Stop it."""
        self._triggered_ns = None
        self._connected.write(self.stop_command)

    def make_safe(self) -> None:
        """Stop it."""
        self._write_anyway([self.stop_command])

    @abstractmethod
    def _start_single(self) -> None:
        """Send what begins a single acquisition."""

    def arm(self) -> None:
        """Begin a single acquisition and wait until all that comes before its trigger is recorded."""
        record = self._set
        self._triggered_ns = None
        self._start_single()
        before_s = record.pretrigger * record.duration_s
        self._wait(
            lambda word: word in self.words.waiting,
            ANSWER_S + 1.1 * before_s,
            "does not wait for its trigger",
        )

    def _check_possible(self, channels: Sequence[ChannelSetting], record: Record) -> None:
        """Raise InstrumentError for what the model cannot do with these channels on."""
        model = self.model
        wrong = None
        if any(channel.number > model.channels for channel in channels):
            wrong = f"has {model.channels} channels"
        elif len(channels) > len(self._channels):
            wrong = f"was planned with {len(self._channels)} channels on, which share its memory"
        elif record.points not in model.record_lengths:
            lengths = ", ".join(str(points) for points in model.record_lengths)
            wrong = f"holds {lengths} points with {len(channels)} channels on, not {record.points}"
        elif record.interval_s * model.most_rate_hz < 1.0 - 1e-6:
            wrong = f"takes {model.most_rate_hz:g} S/s at most with {len(channels)} channels on"
        elif record.mode == "hires" and not model.has_hires:
            wrong = "cannot average between its points"
        if wrong is not None:
            raise InstrumentError(
                f"The {model.name} at '{self._resource}' {wrong}; change this meter in farm.toml."
            )

    @property
    def _set(self) -> Record:
        if self._record is None:
            raise InstrumentError(f"The oscilloscope at '{self._resource}' was not set up.")
        return self._record

    def _status(self) -> str:
        return self._connected.query(self.status_query).upper()

    def _wait(self, is_reached: Callable[[str], bool], at_most_s: float, failure: str) -> None:
        end_ns = self._timebase.now_ns() + round(at_most_s * 1e9)
        while not is_reached(word := self._status()):
            if self._timebase.now_ns() > end_ns:
                raise InstrumentError(
                    f"The oscilloscope at '{self._resource}' {failure}, it says '{word}'; see its screen."
                )
            self._timebase.sleep(POLL_S)

    def _check_finished(self) -> Record:
        """Return the record, to be read only once it is finished."""
        record = self._set
        word = self._status()
        if word not in self.words.finished:
            raise InstrumentError(
                f"The oscilloscope at '{self._resource}' is still at work ('{word}'), so its memory cannot be read; stop it."
            )
        return record

    def _setting(self, channel: int) -> ChannelSetting:
        if channel not in self._settings:
            raise InstrumentError(
                f"Channel {channel} of the oscilloscope at '{self._resource}' was not set up."
            )
        return self._settings[channel]

    def _check_attenuation(self, channel: ChannelSetting) -> None:
        """Raise InstrumentError for a probe that it has no setting for."""
        known = self.attenuations
        if not any(abs(channel.attenuation - one) < 1e-6 * one for one in known):
            raise InstrumentError(
                f"The oscilloscope at '{self._resource}' has no setting for a probe of {channel.attenuation:g}:1 on channel "
                f"{channel.number}; it has 1, 2 and 5 times {known[0]:g} to {known[-1]:g}: give the next one, and put the rest "
                "into shunt_ohm or clamp_v_per_a."
            )

    def _div_s(self, record: Record) -> float:
        """Return the time base whose screen holds the record."""
        div_s = max(step_up(record.duration_s / self.divisions), self.shortest_div_s)
        if div_s > self.longest_div_s * (1.0 + 1e-9):
            raise InstrumentError(
                f"A record of {record.duration_s:.4g} s is longer than the {self.divisions * self.longest_div_s:g} s that the "
                f"oscilloscope at '{self._resource}' can take; measure less long."
            )
        return div_s

    def _check_answer(self, query: str, wanted: float, tolerance: float = 1e-3) -> None:
        """Read a setting back. Raises InstrumentError if it was not taken."""
        got = self._value(query)
        if abs(got - wanted) > tolerance * max(abs(wanted), 1e-12):
            raise InstrumentError(
                f"The oscilloscope at '{self._resource}' answers {got:g} to '{query}' after {wanted:g} was set; choose another "
                "range or rate in farm.toml."
            )

    def _value(self, query: str) -> float:
        return parse_value(self._connected.query(query), query, self._resource)

    def _check_start(self, start_s: float, record: Record) -> None:
        """Raise ReplyInvalid if the record does not begin where it was asked to."""
        off_s = abs(start_s + record.pretrigger * record.duration_s)
        if off_s > MISPLACED * record.duration_s + 2.0 * record.interval_s:
            raise ReplyInvalid(
                f"The record of the oscilloscope at '{self._resource}' begins {start_s:.4g} s from its trigger, not at "
                f"{-record.pretrigger * record.duration_s:.4g} s as it was set; check its horizontal position."
            )

    def _check_count(self, found: int, due: int, what: str) -> None:
        """Raise ReplyInvalid unless all of it is there."""
        if found != due:
            raise ReplyInvalid(
                f"The oscilloscope at '{self._resource}' has {found} {what} instead of {due}; measure again."
            )

    def _block(self, query: str) -> bytes:
        """Read a block, with patience."""
        link = self._connected
        with link.patience(READ_S):
            return link.query_block(query)


def step_up(value: float) -> float:
    """Return the next number of the series 1, 2, 5, 10, ... that is not less."""
    decade = 10.0 ** math.floor(math.log10(value) - 1e-9)
    return next(
        (float(f"{step * decade:.6g}") for step in STEPS if step * decade >= value * (1.0 - 1e-6)),
        float(f"{10.0 * decade:.6g}"),
    )


def steps_from(lowest: float, count: int) -> tuple[float, ...]:
    """Return numbers of the series 1, 2, 5, 10, ... from a decade on."""
    return tuple(step * lowest * 10.0**decade for decade in range(count // 3 + 1) for step in STEPS)[:count]


def is_limited(channel: ChannelSetting) -> bool:
    """Whether the bandwidth limit of 20 MHz, the only one there is, has to be on."""
    return channel.bandwidth_hz is not None and channel.bandwidth_hz <= LIMITED_HZ


def scale_v(channel: ChannelSetting) -> float:
    """Return the range as V a square, rounded up to a step."""
    return step_up(channel.range_v / ROWS)


def spans(divisions: int, shortest_div_s: float, longest_div_s: float) -> tuple[float, ...]:
    """Return the lengths of records that time bases in steps of 1-2-5 make."""
    found = [shortest_div_s]
    while found[-1] < longest_div_s * (1.0 - 1e-6):
        found.append(step_up(found[-1] * 1.01))
    return tuple(divisions * div_s for div_s in found)


def parse_value(answer: str, query: str, resource: str) -> float:
    """Read a number with what may stand around it: "7.00E+06", "1.4M", "14Mpts", "TDIV 1.00E-03S", "500MSa/s"."""
    found = _VALUE.fullmatch(answer.strip().upper())
    if found is None:
        raise no_number(answer, query, resource)
    unit = found[2]
    return float(found[1]) * (_PARTS[unit[0]] if unit in _SMALL else _MULTIPLES.get(unit[:1], 1.0))


def check_finite(values: Iterable[float], what: str, resource: str) -> None:
    """Raise ReplyInvalid unless all numbers are finite."""
    if not all(math.isfinite(value) for value in values):
        raise ReplyInvalid(f"'{resource}' sent a {what} that holds no usable numbers; measure again.")
