"""The board's own rails, sampled on the board and streamed to us.

This package knows no network: whoever makes the meter gives it the list of rails and a way to open a stream. Times are
the board's clock, the one of its timed loop, so no clock has to be aligned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from power.errors import MeterUnavailable, NoReading
from power.meter import Capabilities, Meter, shared_reading, widest
from power.rails.totals import total_rails, total_scope
from power.trace import Reading, Trace, total
from power.uncertainty import stated_accuracy

FIRST_READING_S = 10.0
"""A stream that has not delivered by then is given up."""


class RemoteRail(Protocol):
    """What a board says of one of its rails."""

    @property
    def name(self) -> str: ...
    @property
    def driver(self) -> str: ...
    @property
    def reading(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def rate_hz(self) -> float | None: ...
    @property
    def is_total(self) -> bool: ...
    @property
    def unreadable_reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RailBlock:
    """Samples of one rail in order of time; `values` is W, or J for a counter. NaN marks a sample that failed."""

    rail: str
    time_ns: Sequence[int]
    values: Sequence[float]


class RailStream(Protocol):
    """Blocks as they come, until closed. Iterating may raise the sender's error."""

    def __iter__(self) -> Iterator[RailBlock]: ...

    def close(self) -> None:
        """End the stream; the iteration then ends without an error."""


class BoardMeter(Meter):
    """The sum of the rails that make up the board, or of those that are named.

    `list_rails` and `open_stream(names, interval_s)` are calls to the board. `accuracy` are the limits of error of the sum, as in
    `stated_accuracy`; None if nobody states them.
    """

    driver = "board"

    def __init__(
        self,
        name: str,
        *,
        list_rails: Callable[[], Iterable[RemoteRail]],
        open_stream: Callable[[Sequence[str], float | None], RailStream],
        rails: Sequence[str] = (),
        interval_s: float | None = None,
        accuracy: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(name)
        self._list_rails, self._open_stream = list_rails, open_stream
        self._wanted, self._interval_s = tuple(rails), interval_s
        self._accuracy = None if accuracy is None else stated_accuracy(accuracy, name)
        self._rails: list[RemoteRail] = []
        self._all_names: tuple[str, ...] = ()
        self._receiver: _Receiver | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the board says of its rails."""
        known = total_scope([rail.name for rail in self._rails], self._all_names)
        return Capabilities(
            reading=self._reading,
            scope=widest([known] if known else (rail.scope for rail in self._rails)),
            rate_hz=None if self._interval_s is None else 1.0 / self._interval_s,
            accuracy=self._accuracy,
            clock="board",
        )

    def _open(self) -> None:
        rails = list(self._list_rails())
        known = {rail.name: rail for rail in rails}
        if not rails:
            raise MeterUnavailable("The board has no power rails; use another meter.")
        names = self._wanted or total_rails(rails)
        if not names:
            raise MeterUnavailable(
                f"It is not known which of the board's rails ({', '.join(known)}) make up the whole; name them with rails = […]."
            )
        for name in names:
            if name not in known:
                raise MeterUnavailable(f"The board has no rail '{name}'; it has {', '.join(known)}.")
            if known[name].unreadable_reason:
                raise MeterUnavailable(known[name].unreadable_reason)
        self._rails, self._all_names = [known[name] for name in names], tuple(known)
        shared_reading(rail.reading for rail in self._rails)

    def _start(self) -> None:
        names = [rail.name for rail in self._rails]
        self._receiver = _Receiver(self._open_stream(names, self._interval_s), names)
        self._receiver.start()

    def _stop(self) -> Trace:
        if self._receiver is None:
            raise NoReading(f"The meter '{self.name}' was not started.")
        blocks = self._receiver.stop()
        self._receiver = None
        return self._total(blocks)

    def _salvage(self) -> Trace | None:
        receiver, self._receiver = self._receiver, None
        return None if receiver is None else self._total(receiver.stop(quiet=True))

    def _total(self, blocks: Mapping[str, Sequence[RailBlock]]) -> Trace:
        return total([_trace(blocks[rail.name], self._reading, rail) for rail in self._rails])

    def _close(self) -> None:
        self._rails = []

    @property
    def _reading(self) -> Reading:
        return shared_reading(rail.reading for rail in self._rails)


class _Receiver:
    """A thread that collects a stream's blocks."""

    def __init__(self, stream: RailStream, names: Sequence[str]) -> None:
        self._stream = stream
        self._blocks: dict[str, list[RailBlock]] = {name: [] for name in names}
        self._error: Exception | None = None
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="rail-receiver", daemon=True)

    def start(self) -> None:
        """Begin, and wait for the first block. Raises the stream's error, or NoReading if nothing comes."""
        self._thread.start()
        if not self._first.wait(FIRST_READING_S):
            self.stop(quiet=True)
            raise NoReading(
                f"The board sent no power reading within {FIRST_READING_S:g} s; look at its rails."
            )
        if self._error is not None:
            raise self._error

    def stop(self, *, quiet: bool = False) -> dict[str, list[RailBlock]]:
        """End the stream; return what came. Raises the error that broke it off, unless `quiet`."""
        self._stream.close()
        self._thread.join()
        if self._error is not None and not quiet:
            raise self._error
        return self._blocks

    def _receive(self) -> None:
        try:
            for block in self._stream:
                if block.rail in self._blocks and len(block.time_ns):
                    self._blocks[block.rail].append(block)
                    if all(self._blocks.values()):
                        self._first.set()
        except Exception as error:
            # Kept for whoever stops the meter: a thread has nobody to raise it to.
            self._error = error
        self._first.set()


def _trace(blocks: Sequence[RailBlock], reading: Reading, rail: RemoteRail) -> Trace:
    if not blocks:
        raise NoReading(f"The board's rail '{rail.name}' yielded no reading.")
    time_ns = np.concatenate([np.asarray(block.time_ns, np.int64) for block in blocks])
    values = np.concatenate([np.asarray(block.values, np.float64) for block in blocks])
    known = np.isfinite(values)
    if not known.any():
        raise NoReading(f"Every reading of the board's rail '{rail.name}' failed.")
    t_s = time_ns[known] / 1e9
    interval_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 1.0
    counter = reading == "counter"
    renewed_s = 1.0 / rail.rate_hz if rail.rate_hz else None
    return Trace(
        t_s,
        power_w=None if counter else values[known],
        energy_j=values[known] if counter else None,
        reading=reading,
        interval_s=interval_s,
        averaging_s=renewed_s if reading == "average" else None,
        update_s=renewed_s if counter else None,
        lost=int(np.count_nonzero(~known)),
    )
