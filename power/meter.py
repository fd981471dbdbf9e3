"""What every meter is: a life cycle, and a statement of what its readings mean.

with SomeMeter(...) as meter:      # open, close
    meter.plan(60.0)               # instruments with a memory need to know
    meter.start()
    meter.mark()                   # at each edge of a window: meters that only count read here
    trace = meter.stop()
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Literal, Self

from power.errors import MeterStateError, MeterUnavailable, PowerError
from power.reduction.flags import Flag
from power.trace import Reading, Trace
from power.uncertainty import Accuracy

__all__ = [
    "Accuracy",
    "Capabilities",
    "Clock",
    "Identity",
    "Kind",
    "Meter",
    "Scope",
    "shared_reading",
    "widest",
]

Scope = Literal["rail", "card", "module", "board", "wall"]
Kind = Literal["measured", "estimated", "simulated"]
Clock = Literal["host", "board"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a meter's readings are.

    scope            how much of the system it sees
    rate_hz          samples a second; None where it reads only when it is marked
    resolution_w     smallest step of power; None if unknown
    accuracy         None if nobody states it: no uncertainty can be stated then, and the result says so
    clock            whose monotonic clock the trace's times are: "board" where the board samples itself
    kind             whether watts were measured at all
    same_range       whether all readings were on one range, so that its offset cancels above idle
    """

    reading: Reading
    scope: Scope
    rate_hz: float | None = None
    resolution_w: float | None = None
    accuracy: Accuracy | None = None
    clock: Clock = "host"
    kind: Kind = "measured"
    same_range: bool = True


@dataclass(frozen=True, slots=True)
class Identity:
    """Which instrument answers. What it does not tell is None.

    is_simulated   it says of itself that it is a simulation; its results are of kind "simulated"
    """

    maker: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    is_simulated: bool = False


class _Stage(Enum):
    NEW = auto()
    OPEN = auto()
    RUNNING = auto()
    CLOSED = auto()


class Meter(ABC):
    """Base of all meters: keeps the order of steps; subclasses fill the underscore methods.

    A step out of order raises MeterStateError. `close` may be called at any time and again; it stops first where it must.
    """

    driver: str

    def __init__(self, name: str) -> None:
        """`name` is what the inventory calls this instrument."""
        self.name = name
        self._stage = _Stage.NEW

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the readings are; complete once open, and at their most exact after `stop`."""

    @property
    def tail_s(self) -> float:
        """How long it has to run on after a window for its readings to cover it; 0 where it is read when it stops."""
        return 0.0

    @property
    def flag(self) -> Flag | None:
        """What a reader of the last recording has to know; None if there is nothing."""
        return None

    @property
    def identity(self) -> Identity:
        """Which instrument this is, once open; nothing is known of meters that are no instruments."""
        return Identity()

    @property
    def range_text(self) -> str | None:
        """The range it is on, such as "15 V / 1 A", in the words certificates use; None if it has none."""
        return None

    @property
    def setup_text(self) -> str | None:
        """What turns readings into power besides the range, such as "shunt of 0.01 Ω", for certificates; None: nothing."""
        return None

    def open(self) -> Self:
        """Reach the instrument. Raises MeterUnavailable in a sentence that says what to do."""
        self._expect("open", _Stage.NEW)
        self._open()
        self._stage = _Stage.OPEN
        return self

    def plan(self, duration_s: float) -> None:
        """Tell, before `start`, how long the recording will be at most: instruments with a memory fit their record to it.

        Raises OptionInvalid, in a sentence that says what would fit, if it cannot.
        """
        self._expect("plan", _Stage.OPEN)
        self._plan(duration_s)

    def start(self) -> None:
        """Begin recording; returns when the first reading is there, or on its way where the instrument keeps it."""
        self._expect("start", _Stage.OPEN)
        self._start()
        self._stage = _Stage.RUNNING

    def mark(self) -> None:
        """Tell that a window begins or ends now. Meters that sample by themselves have nothing to do."""
        self._expect("mark", _Stage.RUNNING)
        self._mark()

    def stop(self) -> Trace:
        """End recording and return what was recorded. Raises NoReading if that is nothing, or if it broke off."""
        self._expect("stop", _Stage.RUNNING)
        self._stage = _Stage.OPEN
        return self._stop()

    def salvage(self) -> Trace | None:
        """Return what a recording had seen that breaks off, or whose `stop` failed; None if nothing, or it cannot tell any more.

        Does not wait for what is still to come, and never raises PowerError: something else is to be told. Ends the recording.
        """
        if self._stage is _Stage.RUNNING:
            self._stage = _Stage.OPEN
        with contextlib.suppress(PowerError):
            return self._salvage()
        return None

    def close(self) -> None:
        """Leave the instrument in a safe state and let go of it."""
        if self._stage is _Stage.CLOSED:
            return
        running, opened = self._stage is _Stage.RUNNING, self._stage is not _Stage.NEW
        self._stage = _Stage.CLOSED
        try:
            if running:
                with contextlib.suppress(PowerError):
                    self._salvage()
        finally:
            if opened:
                self._close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _expect(self, step: str, stage: _Stage) -> None:
        if self._stage is not stage:
            raise MeterStateError(
                f"The meter '{self.name}' cannot {step} while it is {self._stage.name.lower()}; "
                "the order is open, start, mark, stop, close."
            )

    def begin_ranging(self) -> bool:
        """Let the instrument choose its ranges for the next recording; false if it has none to choose."""
        return False

    def fix_ranges(self) -> None:  # noqa: B027 - most meters have no ranges
        """Keep, from now on, the ranges that the last recording needed."""

    @abstractmethod
    def _open(self) -> None: ...

    def _plan(self, duration_s: float) -> None:  # noqa: B027 - most meters record for as long as it takes
        """Fit the record, for instruments that have to."""

    @abstractmethod
    def _start(self) -> None: ...

    def _mark(self) -> None:  # noqa: B027 - most meters have nothing to do
        """Read now, for meters that only count."""

    @abstractmethod
    def _stop(self) -> Trace: ...

    def _salvage(self) -> Trace | None:
        """End a recording that broke off, and return what can be had of it; may come after a `_stop` that failed."""
        return self._stop()

    @abstractmethod
    def _close(self) -> None: ...


def widest(scopes: Iterable[str]) -> Scope:
    """Return the scope that several rails together deserve: their own if it is one, else "module"."""
    found = set(scopes)
    known: tuple[Scope, ...] = ("rail", "card", "module", "board", "wall")
    return next((scope for scope in known if found == {scope}), "module")


def shared_reading(readings: Iterable[str]) -> Reading:
    """Return the way in which several rails read. Raises MeterUnavailable where energy would be added to power."""
    found = set(readings)
    if "counter" in found and len(found) > 1:
        raise MeterUnavailable(
            "Some of these rails count energy and others measure power, which cannot be added; name rails of one kind."
        )
    known: tuple[Reading, ...] = ("counter", "average")
    return next((reading for reading in known if found == {reading}), "instantaneous")
