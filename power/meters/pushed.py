"""A meter over an instrument that sends readings by itself: a thread takes them as they come."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from power.drivers.common.base import PushedInstrument
from power.errors import LinkLost, NoReading, PowerError
from power.meters.instrument import InstrumentMeter
from power.sample import Sample
from power.sampler import trace_of
from power.timebase import Timebase
from power.trace import Trace

LOOK_S, TURN_S = 0.05, 0.0005
WAIT_S = 0.1
"""How long the thread waits before it looks whether it is still wanted."""


class PushedMeter(InstrumentMeter[PushedInstrument]):
    """Collects what comes. The first reading has to come before `start` returns."""

    _listener: _Listener | None = None

    @property
    def _rate_hz(self) -> float | None:
        interval_s = self._instrument.interval_s
        return None if interval_s is None else 1.0 / interval_s

    def _start(self) -> None:
        self._instrument.begin()
        self._listener = _Listener(self.name, self._instrument)
        self._listener.start(self._timebase)

    def _stop(self) -> Trace:
        if self._listener is None:
            raise NoReading(f"The meter '{self.name}' was not started.")
        samples = self._listener.stop(self._timebase.now_ns())
        self._instrument.end()
        self._listener = None
        return self._trace(samples)

    def _salvage(self) -> Trace | None:
        listener, self._listener = self._listener, None
        if listener is None:
            return None
        samples = listener.halt()
        with contextlib.suppress(PowerError):
            self._instrument.end()
        return self._trace(samples)

    def _trace(self, samples: Sequence[Sample]) -> Trace:
        trace = trace_of(samples, self._reading, self._instrument.interval_s)
        return self._seen(
            replace(
                trace,
                clock_bound_s=self._instrument.time_bound_s,
                averaging_s=self._instrument.averaging_s if self._reading == "average" else None,
                update_s=self._instrument.update_s if self._reading == "counter" else None,
                step_j=self._instrument.step_j if self._reading == "counter" else None,
            )
        )


class _Listener:
    def __init__(self, name: str, instrument: PushedInstrument) -> None:
        self._name, self._instrument = name, instrument
        self._samples: list[Sample] = []
        self._error: PowerError | None = None
        self._first, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="power-listener", daemon=True)

    def start(self, timebase: Timebase) -> None:
        """Begin, and wait for the first reading. Raises LinkLost if none comes."""
        self._thread.start()
        # Time has to pass for it, in a simulation too, where that takes none: the thread must get its turn.
        while not self._first.wait(TURN_S):
            timebase.sleep(LOOK_S)
        if self._error is not None:
            raise self._error

    def stop(self, until_ns: int) -> Sequence[Sample]:
        """End; return what came, what is still queued from before `until_ns` too. Raises the error that broke it off."""
        self.halt()
        if self._error is not None:
            raise self._error
        while came := self._instrument.receive(0.0):
            self._samples += came
            if came[-1].time_ns > until_ns:
                break
        return self._samples

    def halt(self) -> Sequence[Sample]:
        """End, and say nothing about it; return what came."""
        self._ended.set()
        self._thread.join()
        return self._samples

    def _run(self) -> None:
        heard_s = time.monotonic()
        try:
            while not self._ended.is_set():
                came = self._instrument.receive(WAIT_S)
                if came:
                    self._samples += came
                    self._first.set()
                    heard_s = time.monotonic()
                elif time.monotonic() - heard_s > self._instrument.silence_s:
                    raise LinkLost(self._silence())
        except PowerError as error:
            self._error = error
        self._first.set()

    def _silence(self) -> str:
        source = self._instrument
        return (
            f"The meter '{self._name}' sent nothing for {source.silence_s:g} s {source.source_text}; "
            f"check {source.check_text}."
        )
