"""A meter over an instrument that samples on its own clock and hands over many samples at a time."""

from __future__ import annotations

import contextlib
import threading

import numpy as np

from power.align.arrivals import fit_arrivals
from power.drivers.common.base import Block, Start, StreamedInstrument
from power.errors import NoReading, PowerError
from power.meters.instrument import InstrumentMeter
from power.timebase import Ticker
from power.trace import Flags, Floats, Trace


class StreamedMeter(InstrumentMeter[StreamedInstrument]):
    """Empties the instrument's memory often enough, and places its samples on the host's clock.

    Samples are numbered: what was lost leaves a hole in time, never a shift.
    """

    _recording: _Recording | None = None

    @property
    def _rate_hz(self) -> float | None:
        return 1.0 / self._instrument.interval_s

    def _plan(self, duration_s: float) -> None:
        self._instrument.fit(duration_s)

    def _start(self) -> None:
        recording = _Recording(self._instrument, self._instrument.begin())
        self._recording = recording
        recording.ticker = self._timebase.every(self._instrument.fetch_s, recording.tick)

    def _stop(self) -> Trace:
        recording, self._recording = self._recording, None
        if recording is None:
            raise NoReading(f"The meter '{self.name}' was not started.")
        blocks = recording.stop()
        return self._seen(_trace(self.name, self._instrument, recording.start, blocks))

    def _abort(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            with contextlib.suppress(PowerError):
                recording.stop()


class _Recording:
    def __init__(self, instrument: StreamedInstrument, start: Start) -> None:
        self.start = start
        self.ticker: Ticker | None = None
        self._instrument = instrument
        self._blocks: list[Block] = []
        self._error: PowerError | None = None
        self._lock = threading.Lock()

    def tick(self) -> bool:
        """Fetch once; false when there is no use in going on."""
        try:
            self._keep(self._instrument.fetch())
        except PowerError as error:
            self._error = error
            return False
        return True

    def stop(self) -> list[Block]:
        """Stop sampling and return all blocks. Raises the error that broke it off."""
        if self.ticker is not None:
            self.ticker.stop()
        if self._error is not None:
            with contextlib.suppress(PowerError):
                self._instrument.end()
            raise self._error
        self._keep(self._instrument.end())
        return self._blocks

    def _keep(self, block: Block | None) -> None:
        if block is not None and len(block):
            with self._lock:
                self._blocks.append(block)


def _trace(name: str, instrument: StreamedInstrument, start: Start, blocks: list[Block]) -> Trace:
    if not blocks:
        raise NoReading(f"The meter '{name}' yielded no sample; check that its source is alive.")
    numbers = [block.numbers for block in blocks]
    ends = np.array([of_block[-1] for of_block in numbers], np.int64)
    clock = fit_arrivals(
        ends,
        np.array([block.arrival_ns for block in blocks], np.int64) / 1e9,
        instrument.interval_s,
        instrument.clock_ppm,
        (start.earliest_ns / 1e9, start.latest_ns / 1e9),
    )
    index = np.concatenate(numbers)
    count = int(index[-1]) + 1
    average = instrument.reading == "average"
    return Trace(
        clock.times_s(index),
        power_w=np.concatenate([block.power_w for block in blocks]),
        voltage_v=_floats([block.voltage_v for block in blocks]),
        current_a=_floats([block.current_a for block in blocks]),
        reading=instrument.reading,
        interval_s=instrument.interval_s,
        averaging_s=(instrument.averaging_s or instrument.interval_s) if average else None,
        clipped=_flags([block.clipped for block in blocks]),
        marker=_flags([block.marker for block in blocks]),
        clock_bound_s=clock.bound_s,
        lost=count - len(index),
    )


def _floats(parts: list[Floats | None]) -> Floats | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _flags(parts: list[Flags | None]) -> Flags | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
