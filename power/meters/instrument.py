"""What meters made of an instrument have in common: reaching it, saying what its readings are, leaving it safe."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from power.drivers.common.base import Instrument
from power.errors import PowerError
from power.meter import Capabilities, Identity, Meter, Scope
from power.timebase import HOST_TIME, Timebase
from power.trace import Reading, Trace
from power.uncertainty import Accuracy, stated_accuracy

I = TypeVar("I", bound=Instrument)  # noqa: E741


class InstrumentMeter(Meter, Generic[I]):
    """A meter over a driver.

    `scope` overrides what the driver says it sees; `accuracy`, limits of error as in `stated_accuracy`, overrides its data
    sheet (but its smallest step, where they name none); `is_simulated` says so of simulators whose protocol has no room for it.
    """

    def __init__(
        self,
        name: str,
        instrument: I,
        *,
        scope: Scope | None = None,
        accuracy: Mapping[str, object] | None = None,
        is_simulated: bool = False,
        timebase: Timebase = HOST_TIME,
    ) -> None:
        super().__init__(name)
        self.driver = instrument.driver
        self._instrument, self._scope, self._timebase = instrument, scope, timebase
        self._stated = None if accuracy is None else stated_accuracy(accuracy, name)
        self._states_no_step = accuracy is None or "resolution_w" not in accuracy
        self._identity = Identity(is_simulated=is_simulated)
        self._is_simulated = is_simulated
        self._voltage_v: float | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the driver says of the readings."""
        rate_hz = self._rate_hz
        return Capabilities(
            reading=self._reading,
            scope=self._scope or self._instrument.scope,
            rate_hz=rate_hz,
            resolution_w=self._instrument.resolution_w,
            accuracy=self._accuracy(),
            same_range=self._instrument.same_range,
            kind="simulated" if self._is_simulated or self._identity.is_simulated else "measured",
        )

    @property
    def identity(self) -> Identity:
        """Which instrument answered."""
        return self._identity

    @property
    def range_text(self) -> str | None:
        """The range it is on."""
        return self._instrument.range_text

    @property
    def setup_text(self) -> str | None:
        """What settings make of its readings besides the range."""
        return self._instrument.setup_text

    @property
    def tail_s(self) -> float:
        """Some readings more, and what a reading may be late."""
        return self._instrument.tail_s

    def begin_ranging(self) -> bool:
        """Let the instrument choose its ranges for the next recording."""
        return self._instrument.begin_ranging()

    def fix_ranges(self) -> None:
        """Keep the ranges that the last recording needed."""
        self._instrument.fix_ranges()

    def _accuracy(self) -> Accuracy | None:
        if self._stated is None:
            return self._instrument.accuracy(self._voltage_v)
        step_w = self._instrument.resolution_w
        # Whoever states limits of error seldom thinks of the digits, which the driver knows.
        return replace(self._stated, resolution_w=step_w) if self._states_no_step and step_w else self._stated

    @property
    def _reading(self) -> Reading:
        return self._instrument.reading

    @property
    def _rate_hz(self) -> float | None:
        return None

    def _open(self) -> None:
        self._identity = self._instrument.connect()

    def _close(self) -> None:
        # What breaks here must not hide what broke before; a line that is gone cannot be made safe.
        with contextlib.suppress(PowerError):
            self._instrument.make_safe()
        self._instrument.disconnect()

    def _seen(self, trace: Trace) -> Trace:
        """Note the supply's voltage, on which the accuracy of V · I depends."""
        if trace.voltage_v is not None:
            self._voltage_v = float(trace.voltage_v.mean())
        return trace
