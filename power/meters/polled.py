"""A meter over an instrument that is asked for each reading."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from power.drivers.common.base import PolledInstrument
from power.errors import NoReading, PowerError
from power.meters.instrument import InstrumentMeter
from power.sample import Sample
from power.sampler import Sampler, trace_of
from power.trace import Trace


class PolledMeter(InstrumentMeter[PolledInstrument]):
    """Asks on a fixed grid; a counter is asked at the edges of windows too."""

    _sampler: Sampler | None = None

    @property
    def _rate_hz(self) -> float | None:
        return 1.0 / self._instrument.interval_s

    def _start(self) -> None:
        self._instrument.begin()
        self._sampler = Sampler(self._instrument.read, self._instrument.poll_s, self._timebase)
        self._sampler.start(wait_s=self._instrument.tail_s)

    def _mark(self) -> None:
        if self._sampler is not None and self._reading == "counter":
            self._sampler.take()

    def _stop(self) -> Trace:
        if self._sampler is None:
            raise NoReading(f"The meter '{self.name}' was not started.")
        samples = self._sampler.stop()
        self._instrument.end()
        self._sampler = None
        return self._trace(samples)

    def _salvage(self) -> Trace | None:
        sampler, self._sampler = self._sampler, None
        if sampler is None:
            return None
        samples = sampler.halt()
        with contextlib.suppress(PowerError):
            self._instrument.end()
        return self._trace(samples)

    def _trace(self, samples: Sequence[Sample]) -> Trace:
        trace = trace_of(samples, self._reading, self._instrument.interval_s)
        average = self._reading == "average"
        return self._seen(
            replace(
                trace,
                clock_bound_s=self._instrument.time_bound_s,
                averaging_s=self._instrument.averaging_s if average else None,
                update_s=self._instrument.update_s if self._reading == "counter" else None,
                step_j=self._instrument.step_j if self._reading == "counter" else None,
            )
        )
