"""A meter over an instrument that samples on its own clock and hands over many samples at a time."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import replace

import numpy as np

from power.align.arrivals import fit_arrivals
from power.drivers.common.base import Block, Start, StreamedInstrument
from power.errors import NoReading, PowerError
from power.meters.instrument import InstrumentMeter
from power.timebase import Ticker
from power.trace import Flags, Floats, Trace

ALL_COLUMNS_SAMPLES = 16_000_000
"""Longer traces hold power only: voltage and current would treble what they take while they are recorded."""


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
        recording = self._recording
        if recording is None:
            raise NoReading(f"The meter '{self.name}' was not started.")
        blocks = recording.stop()
        self._recording = None
        return self._seen_of(recording, blocks)

    def _salvage(self) -> Trace | None:
        recording, self._recording = self._recording, None
        return None if recording is None else self._seen_of(recording, recording.halt())

    def _seen_of(self, recording: _Recording, blocks: list[Block]) -> Trace:
        trace = self._seen(_trace(self.name, self._instrument, recording.start, blocks))
        if recording.mean_v is not None:
            self._voltage_v = recording.mean_v
        return trace


class _Recording:
    def __init__(self, instrument: StreamedInstrument, start: Start) -> None:
        self.start = start
        self.ticker: Ticker | None = None
        self._instrument = instrument
        self._blocks: list[Block] = []
        self._count, self._volts, self._with_v = 0, 0.0, 0
        self._error: PowerError | None = None
        self._lock = threading.Lock()

    @property
    def mean_v(self) -> float | None:
        """Mean voltage of a recording that was too long to keep all voltages; None for others."""
        return self._volts / self._with_v if self._count > ALL_COLUMNS_SAMPLES and self._with_v else None

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

    def halt(self) -> list[Block]:
        """Stop sampling and return all blocks there are, and say nothing about it."""
        if self.ticker is not None:
            self.ticker.stop()
        with contextlib.suppress(PowerError):
            self._keep(self._instrument.end())
        return self._blocks

    def _keep(self, block: Block | None) -> None:
        if block is not None and len(block):
            with self._lock:
                self._blocks.append(block)
                self._count += len(block)
                if block.voltage_v is not None:
                    self._volts, self._with_v = (
                        self._volts + float(block.voltage_v.sum()),
                        self._with_v + len(block),
                    )
                if self._count > ALL_COLUMNS_SAMPLES:
                    self._let_go()

    def _let_go(self) -> None:
        """Keep power only, from the last block back to where that was done already."""
        for i in reversed(range(len(self._blocks))):
            block = self._blocks[i]
            if block.voltage_v is None and block.current_a is None:
                return
            self._blocks[i] = replace(block, voltage_v=None, current_a=None)


def _trace(name: str, instrument: StreamedInstrument, start: Start, blocks: list[Block]) -> Trace:
    if not blocks:
        raise NoReading(f"The meter '{name}' yielded no sample; check that its source is alive.")
    ends = np.array([block.numbers[-1] for block in blocks], np.int64)
    clock = fit_arrivals(
        ends,
        np.array([block.arrival_ns for block in blocks], np.int64) / 1e9,
        instrument.interval_s,
        instrument.clock_ppm,
        (start.earliest_ns / 1e9, start.latest_ns / 1e9),
    )
    kept, count = sum(len(block) for block in blocks), int(ends[-1]) + 1
    t_s, at = np.empty(kept), 0
    for block in blocks:
        t_s[at : at + len(block)] = clock.times_s(block.numbers)
        at += len(block)
    # Column by column, block by block, each let go of once it is copied: a minute at 1 MS/s takes half a gigabyte a column.
    power, volts, amperes = (
        [getattr(block, name) for block in blocks] for name in ("power_w", "voltage_v", "current_a")
    )
    clipped, marker = ([getattr(block, name) for block in blocks] for name in ("clipped", "marker"))
    blocks.clear()
    average = instrument.reading == "average"
    return Trace(
        t_s,
        power_w=_floats(power),
        voltage_v=_floats(volts),
        current_a=_floats(amperes),
        reading=instrument.reading,
        interval_s=instrument.interval_s,
        averaging_s=(instrument.averaging_s or instrument.interval_s) if average else None,
        clipped=_flags(clipped),
        marker=_flags(marker),
        clock_bound_s=clock.bound_s,
        lost=count - kept,
    )


def _floats(parts: list[Floats | None]) -> Floats | None:
    known = deque(part for part in parts if part is not None)
    is_whole = len(known) == len(parts)
    parts.clear()
    if not is_whole:
        return None
    joined, at = np.empty(sum(map(len, known))), 0
    while known:
        part = known.popleft()
        joined[at : at + len(part)] = part
        at += len(part)
    return joined


def _flags(parts: list[Flags | None]) -> Flags | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
