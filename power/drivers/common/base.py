"""What a driver is: an instrument reached, identified, set up and read, and left in a safe state.

A driver knows commands and scaling; when to read, and what a trace is, its meter knows (power/meters). Four families:

    PolledInstrument    answers with one reading when it is asked
    PushedInstrument    sends a reading when it has one
    StreamedInstrument  samples on its own clock and hands over many at a time
    Scope               (power/drivers/common/scope.py) records once, and is read out afterwards
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from power.errors import WrongInstrument
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Flags, Floats, Reading
from power.uncertainty import Accuracy

Integers = NDArray[np.int64]
LAST_READINGS = 3
SIMULATED_SERIAL = "WATTFARM-SIM"
"""Serial numbers that begin like this are those of power/sim."""


class Instrument(ABC):
    """Base of all drivers. One call at a time, from any thread."""

    driver: ClassVar[str]
    scope: Scope = "board"
    """What it usually sees; farm.toml may say otherwise."""

    @classmethod
    @abstractmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Make a driver of the settings in farm.toml, without touching the instrument. Raises OptionInvalid."""

    @abstractmethod
    def connect(self) -> Identity:
        """Reach the instrument, check that it is one this driver is for, and set it up.

        Raises MeterUnavailable, WrongInstrument or InstrumentError; whatever was opened is closed then.
        """

    @abstractmethod
    def make_safe(self) -> None:
        """Leave it as a person wants to find it: acquisition stopped, protection and local control restored.

        Called before every `disconnect`, also after a failure: a broken line raises LinkLost, which the caller passes over.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Let go of the line. Never raises; harmless twice."""

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """What its readings are."""

    @property
    def resolution_w(self) -> float | None:
        """Smallest step of power; None if unknown."""
        return None

    @property
    def range_text(self) -> str | None:
        """The range it is on, in the words certificates use; None if it has none."""
        return None

    @property
    def setup_text(self) -> str | None:
        """What settings make of its readings besides the range: shunt, probes, factors, a given supply; None: nothing."""
        return None

    @property
    def tail_s(self) -> float:
        """How long a recording has to go on after a window, for the last readings to cover it."""
        return 0.0

    @property
    def same_range(self) -> bool:
        """Whether all readings since `begin` were on one range."""
        return True

    def begin_ranging(self) -> bool:
        """Choose ranges automatically from the next `begin` on; false if it has none to choose."""
        return False

    def fix_ranges(self) -> None:  # noqa: B027 - few have ranges
        """Keep the ranges that were needed since `begin_ranging`."""

    @abstractmethod
    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Return its specified accuracy at a supply of about `voltage_v` (None: not known yet); None if nobody states it."""


class PolledInstrument(Instrument):
    """Answers when it is asked.

    interval_s   time between its readings
    averaging_s  time that each reading averages over, for reading "average"
    update_s     time between renewals of a counter; None if unknown, and for others
    step_j       smallest step of a counter; None if it is negligible, and for others
    time_bound_s how far the times of its readings may be off
    """

    @property
    @abstractmethod
    def interval_s(self) -> float:
        """Time between readings."""

    averaging_s: float | None = None
    update_s: float | None = None
    step_j: float | None = None
    time_bound_s: float = 0.0

    @property
    def tail_s(self) -> float:
        """Some readings."""
        return LAST_READINGS * self.interval_s

    @property
    def poll_s(self) -> float:
        """How often it is asked: less than interval_s where an answer waits for the next reading."""
        return self.interval_s

    def begin(self) -> None:
        """Make ready to be asked."""

    @abstractmethod
    def read(self) -> Sample:
        """Return one reading; times are the timebase's. A Sample without a value says that it had none this time."""

    def end(self) -> None:
        """It will not be asked again for now."""


class PushedInstrument(Instrument):
    """Sends readings by itself.

    interval_s   time between them, None if they come as they like
    step_j       smallest step of a counter; None if it is negligible, and for others
    time_bound_s how far their times of arrival may be off, what is known of its delay taken off
    silence_s    after so long without a reading it is lost
    source_text  where its readings come from, for the sentence that says so: "on the serial port '/dev/ttyUSB0'"
    check_text   and what is to be checked then
    """

    @property
    @abstractmethod
    def interval_s(self) -> float | None:
        """Time between readings."""

    averaging_s: float | None = None
    update_s: float | None = None
    step_j: float | None = None
    time_bound_s: float = 0.0
    silence_s: float = 5.0
    check_text: str = "its power and cable"

    @property
    @abstractmethod
    def source_text(self) -> str:
        """Where its readings come from."""

    @property
    def tail_s(self) -> float:
        """Some readings; where they come as they like, as long as one may be missing."""
        return self.silence_s if self.interval_s is None else LAST_READINGS * self.interval_s

    @abstractmethod
    def begin(self) -> None:
        """Let it send."""

    @abstractmethod
    def receive(self, timeout_s: float) -> Sequence[Sample]:
        """Return what came, in order of time, waiting at most `timeout_s` of real time for the first; () if nothing did."""

    @abstractmethod
    def end(self) -> None:
        """Let it be silent."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Successive samples of a stream.

    first_index  number of the first sample since `begin`; a jump is what was lost
    index        [n] number of each sample, where some in between were lost; None if they follow one another
    arrival_ns   when the last of them had arrived, host's clock
    marker       level of the channel that the board's GPIO drives
    """

    first_index: int
    arrival_ns: int
    power_w: Floats
    voltage_v: Floats | None = None
    current_a: Floats | None = None
    clipped: Flags | None = None
    marker: Flags | None = None
    index: Integers | None = None

    def __len__(self) -> int:
        return len(self.power_w)

    @property
    def numbers(self) -> Integers:
        """The number of each sample."""
        if self.index is not None:
            return self.index
        return np.arange(self.first_index, self.first_index + len(self), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Start:
    """When sample 0 was taken (ended, for averages): not before and not after, host's clock, ns."""

    earliest_ns: int
    latest_ns: int


class StreamedInstrument(Instrument):
    """Samples on its own clock.

    averaging_s   time that each sample averages over, for reading "average"
    clock_ppm     how far its clock may be off
    fetch_s       how often its memory has to be emptied
    """

    averaging_s: float | None = None
    clock_ppm: float = 100.0
    fetch_s: float = 0.25

    @property
    @abstractmethod
    def interval_s(self) -> float:
        """Time between samples."""

    @property
    def tail_s(self) -> float:
        """Two samples."""
        return 2.0 * self.interval_s

    def fit(self, duration_s: float) -> None:
        """Make sure, before `begin`, that a recording this long is possible. Raises OptionInvalid with what would fit."""

    @abstractmethod
    def begin(self) -> Start:
        """Start sampling."""

    @abstractmethod
    def fetch(self) -> Block | None:
        """Return the samples since the last call, None if there are none yet. Raises NoReading where they were lost for good."""

    @abstractmethod
    def end(self) -> Block | None:
        """Stop sampling and return the last samples."""


def parse_idn(answer: str) -> Identity:
    """Read the answer to `*IDN?`: maker, model, serial number, firmware (IEEE 488.2, 10.14)."""
    fields = [field.strip() or None for field in answer.split(",", 3)]
    maker, model, serial, firmware = (*fields, None, None, None, None)[:4]
    simulated = serial is not None and serial.startswith(SIMULATED_SERIAL)
    return Identity(maker, model, serial, firmware, simulated)


def check_model(found: Identity, models: Sequence[str], driver: str, address: str) -> str:
    """Return which of the models (beginnings of their names) answered. Raises WrongInstrument for any other."""
    for model in models:
        if found.model is not None and found.model.upper().startswith(model.upper()):
            return model
    raise wrong_instrument(found, models, driver, address)


def wrong_instrument(found: Identity, models: Sequence[str], driver: str, address: str) -> WrongInstrument:
    """Return the error that tells what answered, and which models the driver is for."""
    name = " ".join(part for part in (found.maker, found.model) if part) or "something without a name"
    return WrongInstrument(
        f"'{address}' is a {name}, but the driver {driver} is for {', '.join(models)}; correct driver or address in farm.toml."
    )


def float_array(values: Sequence[float] | Floats) -> Floats:
    """Return values as a contiguous array of doubles."""
    return np.ascontiguousarray(values, dtype=np.float64)
